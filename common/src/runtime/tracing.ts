/**
 * Spans, and their context from party to party (W3C Trace Context). Off until {@link switchTracing}:
 * nothing is made and nothing is sent along. Spans carry no patient.
 */
import {
  context,
  propagation,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Attributes, Context, Span } from '@opentelemetry/api';
import { toDuoveilError } from '../errors.js';

let isOn = false;

/** Says whether there is anybody who takes spans. */
export function switchTracing(on: boolean): void {
  isOn = on;
}

/** Are spans made? */
export function isTracing(): boolean {
  return isOn;
}

const traceparentKey = 'traceparent';

/** How the context is written into whatever carries it. */
export type Carrier = Record<string, string>;

/** The context that a carrier brings; a new trace's where it brings none. */
function contextFrom(traceparent: string | undefined): Context {
  if (traceparent === undefined || traceparent === '') return ROOT_CONTEXT;
  return propagation.extract(ROOT_CONTEXT, { [traceparentKey]: traceparent });
}

/** A span that is the child of what a peer sent along, of what is going on here, or of nothing. */
export function startSpan(
  name: string,
  kind: 'server' | 'client' | 'internal',
  attributes: Attributes,
  parent: { readonly traceparent?: string | undefined } | 'active' = 'active',
): Span {
  const above = parent === 'active' ? context.active() : contextFrom(parent.traceparent);
  return trace.getTracer('duoveil').startSpan(name, { kind: kinds[kind], attributes }, above);
}

const kinds = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  internal: SpanKind.INTERNAL,
} as const;

/** Does something with a span as what is going on. */
export function within<T>(span: Span, work: () => T): T {
  return context.with(trace.setSpan(context.active(), span), work);
}

/** A span's context as `traceparent` writes it. */
export function traceparentOf(span: Span): string {
  const carrier: Carrier = {};
  propagation.inject(trace.setSpan(ROOT_CONTEXT, span), carrier);
  return carrier[traceparentKey] ?? '';
}

/** Does something in a span of its own, which says whether it failed. */
export async function inSpan<T>(
  name: string,
  parent: { readonly traceparent?: string | undefined } | 'active',
  work: () => Promise<T>,
): Promise<T> {
  if (!isOn) return work();
  const span = startSpan(name, 'internal', {}, parent);
  try {
    return await within(span, work);
  } catch (error) {
    span.setAttribute('error.type', toDuoveilError(error).code);
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}

/** Begins a trace of its own, for others to go on with; undefined where nobody takes spans. */
export function beginTrace(
  name: string,
): { readonly traceparent: string; end(): void } | undefined {
  if (!isOn) return undefined;
  const span = startSpan(name, 'internal', {}, {});
  return {
    traceparent: traceparentOf(span),
    end: () => {
      span.end();
    },
  };
}

/** What goes into a log line of whatever is going on. */
export function traceFields(): { readonly traceId?: string; readonly spanId?: string } {
  if (!isOn) return {};
  const active = trace.getActiveSpan()?.spanContext();
  return active === undefined ? {} : { traceId: active.traceId, spanId: active.spanId };
}
