import { Component, h, type ComponentType, type FunctionComponent } from 'preact';

/** A component that is drawn again only when one of its properties is another value. */
export function memo<P extends object>(drawn: FunctionComponent<P>): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const now = this.props as P;
      return (Object.keys(next) as (keyof P)[]).some((key) => !Object.is(next[key], now[key]));
    }

    override render() {
      return h(drawn as ComponentType<P>, this.props as P);
    }
  };
}
