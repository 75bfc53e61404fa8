import { useEffect, useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import { OIDC_START } from '../api/client.js';
import type { SignInOptions } from '../api/types.js';
import { PageHeading } from '../parts/page-heading.js';
import { FLEET } from '../routes.js';
import { useServices, useStore } from '../services.js';

/** Signs an operator in: by a token, or at the identity provider where there is one. */
export function SignInPage({ token }: { token: string }) {
  const services = useServices();
  const reason = useStore(services.signInReason);
  const [options, setOptions] = useState<SignInOptions>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    services.api.signInOptions().then(setOptions, (error: unknown) => {
      setProblem(`The ways to sign in could not be read: ${describeError(error)}`);
    });
  }, [services]);
  return (
    <main class="sign-in" id="content">
      <section class="card">
        <p class="brand">
          <img src="./favicon.svg" alt="" width="28" height="28" />
          duoveil
        </p>
        <PageHeading title="Sign in" />
        {reason !== '' && <p class="hint">{reason}</p>}
        <div role="alert">{problem !== '' && <p class="problem">{problem}</p>}</div>
        {options?.oidc && (
          <a class="button primary" href={OIDC_START}>
            Sign in with {options.oidc.name}
          </a>
        )}
        {options?.token === true && <TokenForm token={token} onProblem={setProblem} />}
      </section>
    </main>
  );
}

function TokenForm(props: { token: string; onProblem: (problem: string) => void }) {
  const services = useServices();
  const [token, setToken] = useState(props.token);
  const [busy, setBusy] = useState(false);
  const signIn = async (): Promise<void> => {
    setBusy(true);
    try {
      const session = await services.api.signIn(token.trim());
      // A link with a token in it is of no more use, and must not stay in the history.
      if (props.token !== '') history.replaceState(null, '', FLEET);
      services.begin(session);
    } catch (error) {
      props.onProblem(`You are not signed in: ${describeError(error)}`);
      setBusy(false);
    }
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void signIn();
      }}
    >
      <label class="field">
        Operator token
        <input
          type="password"
          autocomplete="current-password"
          required
          value={token}
          onInput={({ currentTarget }) => {
            setToken(currentTarget.value);
          }}
        />
      </label>
      <button type="submit" class="primary" disabled={busy}>
        Sign in
      </button>
    </form>
  );
}
