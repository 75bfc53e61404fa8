import type { RefObject } from 'preact';
import { useEffect, useState } from 'preact/hooks';

/** Rows drawn above and below what is to be seen, so that the keyboard finds the next one. */
const SPARE = 10;

/** Rows to draw: from `first` until before `end`. */
export interface Windowed {
  readonly first: number;
  readonly end: number;
}

/** Which rows of a list are to be seen, given how far above the screen's top the list begins. */
export function visibleRows(
  above: number,
  screenHeight: number,
  rowHeight: number,
  count: number,
): Windowed {
  const first = Math.max(0, Math.floor(above / rowHeight) - SPARE);
  const end = Math.min(count, Math.ceil((above + screenHeight) / rowHeight) + SPARE);
  return { first: Math.min(first, Math.max(0, count - 1)), end: Math.max(0, end) };
}

/**
 * Which rows of a long list are to be drawn as the page is scrolled.
 * @param list the element that has all rows' height
 * @param rowHeight in pixels; the same for all
 */
export function useWindowed(
  list: RefObject<HTMLElement | null>,
  count: number,
  rowHeight: number,
): Windowed {
  const [windowed, setWindowed] = useState<Windowed>({ first: 0, end: Math.min(count, 40) });
  useEffect(() => {
    const look = (): void => {
      if (list.current === null) return;
      const above = -list.current.getBoundingClientRect().top;
      const next = visibleRows(above, innerHeight, rowHeight, count);
      setWindowed((now) => (now.first === next.first && now.end === next.end ? now : next));
    };
    look();
    addEventListener('scroll', look, { passive: true });
    addEventListener('resize', look);
    return () => {
      removeEventListener('scroll', look);
      removeEventListener('resize', look);
    };
  }, [list, count, rowHeight]);
  return windowed;
}

/** Whether a media query holds, as long as it does. */
export function useMedia(query: string): boolean {
  const [holds, setHolds] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const media = matchMedia(query);
    const follow = (): void => {
      setHolds(media.matches);
    };
    follow();
    media.addEventListener('change', follow);
    return () => {
      media.removeEventListener('change', follow);
    };
  }, [query]);
  return holds;
}
