import { render } from 'preact';

import { httpApi } from './api/client.js';
import { App } from './app.js';
import { Services, ServicesProvider } from './services.js';
import './style/tokens.css';
import './style/base.css';
import './style/layout.css';
import './style/parts.css';
import './style/pages.css';

const services: Services = new Services(
  httpApi({
    onSignedOut: () => {
      services.endSession();
    },
  }),
);
for (const sign of ['pointerdown', 'keydown'] as const) {
  addEventListener(sign, () => {
    services.touch();
  });
}
addEventListener('offline', () => {
  services.live.drop();
});
addEventListener('online', () => {
  services.live.retry();
});

const root = document.getElementById('app');
if (root !== null) {
  render(
    <ServicesProvider value={services}>
      <App />
    </ServicesProvider>,
    root,
  );
}
void services.resume(takeProblem());

/** Why the way back from the identity provider ended here without a session; empty otherwise. */
function takeProblem(): string {
  const code = new URLSearchParams(location.search).get('problem');
  if (code === null) return '';
  history.replaceState(null, '', location.pathname + location.hash);
  return `Signing in at the identity provider failed (${code}).`;
}
