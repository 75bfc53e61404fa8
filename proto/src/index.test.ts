import { describe, expect, it } from 'vitest';
import {
  BlindedArithmeticServiceService,
  Decision,
  IngestRequest,
  IngestServiceService,
  MonitoringPolicy,
  Suite,
} from './index.js';

describe('the wire contract', () => {
  it('carries 64-bit integers as bigint, without loss', () => {
    const sequence = 2n ** 64n - 1n;
    const sent = IngestRequest.fromPartial({
      message: {
        $case: 'sample',
        value: { sequence, ciphertexts: [{ a: Buffer.from([1]), b: Buffer.from([0, 2]) }] },
      },
    });
    const received = IngestRequest.decode(IngestRequest.encode(sent).finish());
    expect(received).toEqual(sent);
    expect(received.message?.$case === 'sample' && received.message.value.sequence).toBe(sequence);
  });

  it('tells which alternative of a oneof was sent, also where it holds its default', () => {
    const sent = Decision.fromPartial({
      sequence: 3n,
      outcome: {
        $case: 'scored',
        value: { outlier: false, statistic: { $case: 'level', value: 0 }, model: 1, latencyMs: 2 },
      },
    });
    const received = Decision.decode(Decision.encode(sent).finish());
    expect(received.outcome).toEqual(sent.outcome);
  });

  it('keeps its field numbers', () => {
    const policy = MonitoringPolicy.fromPartial({
      window: 60,
      thresholdScaled: 1n,
      suite: Suite.PACKED,
    });
    expect(Buffer.from(MonitoringPolicy.encode(policy).finish()).toString('hex')).toBe(
      '083c20012802',
    );
  });

  it('names its methods by package, service and method', () => {
    expect(IngestServiceService.ingest.path).toBe('/duoveil.v1.IngestService/Ingest');
    expect(BlindedArithmeticServiceService.invertMatrix.path).toBe(
      '/duoveil.v1.BlindedArithmeticService/InvertMatrix',
    );
  });

  it('refuses a truncated message', () => {
    const whole = IngestRequest.encode({
      message: { $case: 'open', value: { patientId: 'p1', parametersDigest: Buffer.alloc(32) } },
    }).finish();
    expect(() => IngestRequest.decode(whole.subarray(0, whole.length - 1))).toThrow();
  });
});
