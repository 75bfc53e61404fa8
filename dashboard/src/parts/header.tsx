import type { Session } from '../api/types.js';
import { describeError } from '../api/api-error.js';
import { ALARMS, FLEET, SYSTEM, type Route } from '../routes.js';
import { useOpenAlarms, useServices } from '../services.js';

/** Where one can go, how many alarms are open, and who is signed in. */
export function Header({ page, session }: { page: Route['page']; session: Session }) {
  const open = useOpenAlarms().length;
  return (
    <header class="header">
      <a class="brand" href={FLEET}>
        <img src="./favicon.svg" alt="" width="24" height="24" />
        duoveil
      </a>
      <nav class="nav" aria-label="Pages">
        <NavLink to={FLEET} current={page === 'fleet' || page === 'patient'}>
          Fleet
        </NavLink>
        <NavLink to={ALARMS} current={page === 'alarms'}>
          Alarms
          {open > 0 && (
            <span class="count">
              {open}
              <span class="visually-hidden"> not acknowledged</span>
            </span>
          )}
        </NavLink>
        <NavLink to={SYSTEM} current={page === 'system'}>
          System
        </NavLink>
      </nav>
      <SignedIn session={session} />
    </header>
  );
}

function NavLink(props: { to: string; current: boolean; children: preact.ComponentChildren }) {
  return (
    <a href={props.to} aria-current={props.current ? 'page' : undefined}>
      {props.children}
    </a>
  );
}

function SignedIn({ session }: { session: Session }) {
  const services = useServices();
  const signOut = (): void => {
    services.api.signOut().then(
      () => {
        services.forget('You are signed out.');
      },
      (error: unknown) => {
        services.tell(`Signing out failed: ${describeError(error)}`, 'problem');
      },
    );
  };
  return (
    <div class="signed-in">
      <span class="who">
        <span class="name">{session.name}</span> <span class="role">{session.role}</span>
      </span>
      <button type="button" class="quiet" onClick={signOut}>
        Sign out
      </button>
    </div>
  );
}
