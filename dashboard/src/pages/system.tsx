import { useEffect, useState } from 'preact/hooks';

import { describeError } from '../api/api-error.js';
import type { SystemState } from '../api/types.js';
import { PageHeading } from '../parts/page-heading.js';
import { Facts, type Fact } from '../parts/facts.js';
import { Time } from '../parts/time.js';
import { useServices } from '../services.js';
import { duration } from '../state/wording.js';

/** How often the servers' state is read, in milliseconds. */
const EVERY_MS = 5_000;

/** A certificate that ends sooner than this is pointed at. */
const SOON_MS = 14 * 86_400_000;

/** How both servers are. */
export function SystemPage() {
  const { system, readAt, problem } = useSystem();
  return (
    <>
      <PageHeading title="System">
        {readAt !== undefined && (
          <p class="hint">
            Read at <Time at={readAt} />, again every {EVERY_MS / 1_000} seconds
          </p>
        )}
      </PageHeading>
      {problem !== '' && (
        <p class="problem" role="alert">
          The servers’ state could not be read: {problem}
        </p>
      )}
      {system === undefined ? (
        problem === '' && <p class="empty">Loading the servers’ state …</p>
      ) : (
        <div class="cards">
          <Provider sp={system.sp} />
          <CryptoProvider csp={system.csp} />
        </div>
      )}
    </>
  );
}

function Provider({ sp }: { sp: SystemState['sp'] }) {
  return (
    <ServerCard title="Service provider" well={sp.ready} state={sp.ready ? 'Ready' : 'Not ready'}>
      {[
        ['Version', sp.version],
        ['Running for', duration(sp.uptimeSeconds * 1_000)],
        ['Patients watched here', sp.patients.toLocaleString()],
        ['Decisions a second', sp.decisionsPerSecond.toFixed(1)],
        ['A decision takes', <Latency quantiles={sp.decisionMs} />],
        ['Its score alone', <Latency quantiles={sp.scoreMs} />],
        ['Samples that wait', sp.pending.toLocaleString()],
        ['The oldest of them for', ms(sp.lagMs)],
        ['Open dashboards', sp.listeners.toLocaleString()],
        ['Certificate ends', <Expiry at={sp.certificateExpiresAt} />],
        [
          'Certificate for browsers ends',
          <Expiry at={sp.httpCertificateExpiresAt} none="plain HTTP" />,
        ],
      ]}
    </ServerCard>
  );
}

function CryptoProvider({ csp }: { csp: SystemState['csp'] }) {
  return (
    <ServerCard
      title="Crypto service provider"
      well={csp.state === 'ready'}
      state={CSP_STATES[csp.state].name}
    >
      {[
        ['Master key', CSP_STATES[csp.state].key],
        ['Generations of keys', csp.keyGenerations.join(', ') || 'not known'],
        ['Generation in use', csp.keyGenerationInUse ?? 'not known'],
        ['Round trip', ms(csp.roundTripMs)],
        ...(csp.problem === null ? [] : ([['Problem', csp.problem]] as const)),
        ['Certificate ends', <Expiry at={csp.certificateExpiresAt} />],
      ]}
    </ServerCard>
  );
}

const CSP_STATES: Readonly<
  Record<SystemState['csp']['state'], { readonly name: string; readonly key: string }>
> = {
  ready: { name: 'Ready', key: 'unsealed' },
  sealed: { name: 'Sealed', key: 'sealed: nothing is computed' },
  unreachable: { name: 'Not reachable', key: 'not known' },
};

function Latency({ quantiles: { p50, p95, p99 } }: { quantiles: SystemState['sp']['decisionMs'] }) {
  return (
    <>
      {ms(p50)} median, {ms(p95)} p95, {ms(p99)} p99
    </>
  );
}

function ServerCard(props: {
  title: string;
  well: boolean;
  state: string;
  children: readonly Fact[];
}) {
  return (
    <section class="card">
      <div class="card-heading">
        <h2>{props.title}</h2>
        <span class={props.well ? 'badge well' : 'badge severity-3 open'}>
          <span aria-hidden="true">{props.well ? '✓' : '!'}</span>
          {props.state}
        </span>
      </div>
      <Facts facts={props.children} />
    </section>
  );
}

function Expiry({ at, none = 'not known' }: { at: string | null; none?: string }) {
  if (at === null) return <>{none}</>;
  const left = Date.parse(at) - Date.now();
  return (
    <>
      <Time at={at} />
      {left < SOON_MS && <strong> ({left < 0 ? 'over' : `in ${duration(left)}`})</strong>}
    </>
  );
}

function ms(value: number | null): string {
  return value === null ? '–' : `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}

/** The servers' state, read again and again while the page is open. */
function useSystem(): { system?: SystemState; readAt?: Date; problem: string } {
  const { api } = useServices();
  const [read, setRead] = useState<{ system: SystemState; readAt: Date }>();
  const [problem, setProblem] = useState('');
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    let open = true;
    const look = async (): Promise<void> => {
      try {
        const system = await api.system();
        if (!open) return;
        setRead({ system, readAt: new Date() });
        setProblem('');
      } catch (error) {
        if (open) setProblem(describeError(error));
      }
      if (open) timer = setTimeout(() => void look(), EVERY_MS);
    };
    void look();
    return () => {
      open = false;
      clearTimeout(timer);
    };
  }, [api]);
  return { ...read, problem };
}
