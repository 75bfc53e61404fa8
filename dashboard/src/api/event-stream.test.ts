import { expect, test } from 'vitest';

import { EventParser, readEvents } from './event-stream.js';

test('events are read whatever the pieces are that they come in', () => {
  const text = ': hello\n\nevent: change\ndata: {"a":1}\n\ndata: one\r\ndata:two\r\n\r\n: beat\n\n';
  const expected = [
    { type: 'change', data: '{"a":1}' },
    { type: 'message', data: 'one\ntwo' },
  ];
  for (let size = 1; size <= text.length; size++) {
    const parser = new EventParser();
    const found = [];
    for (let at = 0; at < text.length; at += size) {
      found.push(...parser.push(text.slice(at, at + size)));
    }
    expect(found).toEqual(expected);
  }
});

test('an event that is not complete is none', () => {
  expect(new EventParser().push('event: change\ndata: {}\n')).toEqual([]);
});

test('a letter that is torn between two pieces is whole again', async () => {
  const bytes = new TextEncoder().encode('data: Å\n\n');
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
      controller.close();
    },
  });
  const found = [];
  for await (const event of readEvents(body, 10_000)) found.push(event);
  expect(found).toEqual([{ type: 'message', data: 'Å' }]);
});

test('a stream that has fallen silent is lost', async () => {
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(new TextEncoder().encode('data: last\n\n'));
    },
    cancel() {
      cancelled = true;
    },
  });
  const events = readEvents(body, 5);
  expect(await events.next()).toEqual({ done: false, value: { type: 'message', data: 'last' } });
  await expect(events.next()).rejects.toThrow('nothing came in for 5 ms');
  expect(cancelled).toBe(true);
});
