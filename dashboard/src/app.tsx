import type { ComponentChildren } from 'preact';

import { AlarmsPage } from './pages/alarms.js';
import { FleetPage } from './pages/fleet.js';
import { PatientPage } from './pages/patient.js';
import { SignInPage } from './pages/sign-in.js';
import { SystemPage } from './pages/system.js';
import { Banner } from './parts/banner.js';
import { Header } from './parts/header.js';
import { Notices } from './parts/notices.js';
import { useRoute, type Route } from './routes.js';
import { useServices, useStore } from './services.js';

/** The whole page: the sign-in page for whoever is not signed in. */
export function App() {
  const session = useStore(useServices().session);
  const route = useRoute();
  if (session === undefined) return <p class="loading">Loading …</p>;
  if (session === null) return <SignInPage token={route.page === 'sign-in' ? route.token : ''} />;
  return (
    <>
      <a class="skip-link" href="#content" onClick={focusContent}>
        Skip to the content
      </a>
      <Header page={route.page} session={session} />
      <Banner />
      <main id="content" tabIndex={-1}>
        {pageOf(route)}
      </main>
      <Footer />
      <Notices />
    </>
  );
}

function pageOf(route: Route): ComponentChildren {
  switch (route.page) {
    case 'patient':
      return <PatientPage key={route.patient} patient={route.patient} />;
    case 'alarms':
      return <AlarmsPage />;
    case 'system':
      return <SystemPage />;
    case 'fleet':
    case 'sign-in':
      return <FleetPage />;
  }
}

/** The address after the `#` is the page's: the link moves the focus only. */
function focusContent(event: Event): void {
  event.preventDefault();
  document.getElementById('content')?.focus();
}

function Footer() {
  return (
    <footer class="footer">
      A level says how unusual a sample is for its patient, from 0 (as usual) up. It is not a vital
      sign: the service provider never has one. Research software, not a medical device.
    </footer>
  );
}
