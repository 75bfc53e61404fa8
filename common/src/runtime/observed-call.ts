/** Calls as metrics and traces see them, at either end. */
import { SpanStatusCode } from '@opentelemetry/api';
import type { Attributes, Span } from '@opentelemetry/api';
import { Metadata, status as Status } from '@grpc/grpc-js';
import type { Address } from './address.js';
import { metrics } from './metrics.js';
import { isTracing, startSpan, traceparentOf, within } from './tracing.js';

/** One call that is under way. */
export interface ObservedCall {
  /** Does the call's work, with the call as what is going on. */
  within<T>(work: () => T): T;
  /** The call is over; only the first time counts. */
  end(status: Status): void;
}

const key = 'traceparent';

/** A call that came in, as a part of whatever the caller says that it belongs to. */
export function observeServerCall(path: string, metadata: Metadata): ObservedCall {
  const about = attributesOf(path);
  if (!isTracing()) return observed(about, metrics.serverCalls, undefined, isServerFault);
  const [traceparent] = metadata.get(key);
  const parent = typeof traceparent === 'string' ? { traceparent } : {};
  const span = startSpan(about['rpc.method'], 'server', about, parent);
  return observed(about, metrics.serverCalls, span, isServerFault);
}

/** A call that goes out, and the metadata that goes with it. */
export function observeClientCall(
  path: string,
  { host, port }: Address,
): ObservedCall & { readonly metadata: Metadata } {
  const about = { ...attributesOf(path), 'server.address': host, 'server.port': port };
  const metadata = new Metadata();
  let span: Span | undefined;
  if (isTracing()) {
    span = startSpan(about['rpc.method'], 'client', about);
    metadata.set(key, traceparentOf(span));
  }
  const isFault = (status: Status): boolean => status !== Status.OK;
  return { ...observed(about, metrics.clientCalls, span, isFault), metadata };
}

function attributesOf(path: string) {
  return { 'rpc.system.name': 'grpc', 'rpc.method': path.slice(1) } as const;
}

function observed(
  about: Attributes,
  histogram: { record(value: number, labels: Attributes): void },
  span: Span | undefined,
  isFault: (status: Status) => boolean,
): ObservedCall {
  const startMs = performance.now();
  let ended = false;
  return {
    within: (work) => (span === undefined ? work() : within(span, work)),
    end: (status) => {
      if (ended) return;
      ended = true;
      const name = Status[status];
      const outcome: Attributes = {
        'rpc.response.status_code': name,
        ...(isFault(status) && { 'error.type': name }),
      };
      histogram.record((performance.now() - startMs) / 1000, { ...about, ...outcome });
      if (span === undefined) return;
      span.setAttributes(outcome);
      if (isFault(status)) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    },
  };
}

/** What the semantic conventions count as the server's own failing. */
function isServerFault(status: Status): boolean {
  switch (status) {
    case Status.UNKNOWN:
    case Status.DEADLINE_EXCEEDED:
    case Status.UNIMPLEMENTED:
    case Status.INTERNAL:
    case Status.UNAVAILABLE:
    case Status.DATA_LOSS:
      return true;
    default:
      return false;
  }
}
