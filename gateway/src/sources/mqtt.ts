/** Rows from messages of an MQTT 5 broker. */
import { systemClock } from '@duoveil/common/runtime';
import type { Clock } from '@duoveil/common/runtime';

import type { MqttMapping } from './mqtt-mapping.js';
import { RowMapper } from './mqtt-rows.js';
import { DELIVERED_AGAIN, MqttSession } from './mqtt-session.js';
import type { BrokerMessage, SessionOptions } from './mqtt-session.js';
import type { Source, SourceRow } from './source.js';

/** What to subscribe to, and as who. */
export interface MqttOptions extends Omit<SessionOptions, 'topics'> {
  readonly mapping: MqttMapping;
  readonly channels: readonly string[];
  /** Readings of topics of their own that are at most so far apart make a row, in milliseconds. */
  readonly withinMs: number;
  readonly clock?: Clock;
}

/**
 * A broker as a live source. A message of QoS 1 is acknowledged to the broker once every row that it is
 * part of is dealt with: whatever happens, it is delivered again until then. Messages that cannot be read
 * are rows with a problem.
 *
 * Iterating throws INPUT_INVALID where the broker refuses the session or a topic, and CONFIG_INVALID where
 * a file of the mapping cannot be read; a broker that is not there is waited for.
 */
export function mqttSource(options: MqttOptions, signal: AbortSignal): Source {
  return {
    name: options.mapping.broker,
    [Symbol.asyncIterator]: () => readRows(options, signal),
  };
}

async function* readRows(
  options: MqttOptions,
  signal: AbortSignal,
): AsyncGenerator<SourceRow, void> {
  const { mapping, channels, withinMs, clock = systemClock } = options;
  const mapper = new RowMapper(mapping, channels, withinMs, () => clock.now().getTime());
  const session = await MqttSession.begin({ ...options, topics: mapper.topics });
  let pending: BrokerMessage[] = [];
  let index = 0;
  try {
    for await (const message of session.messages(signal)) {
      if (message === DELIVERED_AGAIN) {
        mapper.forget();
        pending = [];
        continue;
      }
      pending.push(message);
      for (const row of mapper.take(message)) {
        const { measuredAt } = row;
        const seconds = measuredAt === undefined ? {} : { seconds: measuredAt / 1000 };
        // When this comes back, the row is dealt with.
        yield { index: index++, ...row, ...seconds };
      }
      for (const one of pending) if (!mapper.isPending(one)) one.acknowledge();
      pending = pending.filter((one) => mapper.isPending(one));
    }
  } finally {
    await session.close();
  }
}
