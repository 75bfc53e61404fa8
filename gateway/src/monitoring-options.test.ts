import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { exitStatus, isDuoveilError } from '@duoveil/common/errors';
import { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { addMonitoringOptions, parseMonitoringOptions } from './monitoring-options.js';
import type { MonitoringValues } from './monitoring-options.js';

let directory = '';
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'duoveil-options-'));
});
afterAll(async () => {
  await rm(directory, { recursive: true });
});

const names = async (values: MonitoringValues): Promise<string[]> =>
  (await parseMonitoringOptions(values)).schema.channels.map(({ name }) => name);

async function schemaFile(content: string): Promise<string> {
  const file = join(directory, 'schema.yaml');
  await writeFile(file, content);
  return file;
}

describe('parseMonitoringOptions', () => {
  it('has the defaults of the contract', async () => {
    expect(await names({})).toEqual(['HR', 'PULSE', 'RESP', 'SpO2']);
    const { policy } = await parseMonitoringOptions({});
    expect(policy).toEqual({
      window: 60,
      baseline: 'fixed',
      retrainEvery: 0,
      thresholdScaled: BigInt(Math.round(2 ** 16 * 11.143286781877796)),
      higherThresholdsScaled: [13.276704135987625, 18.46682695290318].map((threshold) =>
        BigInt(Math.round(2 ** 16 * threshold)),
      ),
      suite: 'packed',
      output: 'level',
    });
  });

  it('has one threshold and distance output with the reference suite', async () => {
    const { policy } = await parseMonitoringOptions({ suite: 'reference' });
    expect(policy).toMatchObject({ output: 'distance', higherThresholdsScaled: [] });
  });

  it('reads several thresholds for levels', async () => {
    const { policy } = await parseMonitoringOptions({ threshold: '1, 2,4' });
    expect(policy).toMatchObject({
      thresholdScaled: 65_536n,
      higherThresholdsScaled: [131_072n, 262_144n],
    });
  });

  it('reads what commander gives', async () => {
    const command = addMonitoringOptions(new Command());
    const line = '--channels|SpO2, HR|--window|20|--baseline|rolling|--retrain-every|5';
    command.parse([...line.split('|'), '--threshold', '9.5'], { from: 'user' });
    const { schema, policy } = await parseMonitoringOptions(command.opts());
    expect(schema.channels.map(({ name }) => name)).toEqual(['SpO2', 'HR']);
    expect(policy).toMatchObject({ window: 20, baseline: 'rolling', retrainEvery: 5 });
    expect(policy.thresholdScaled).toBe(622_592n);
  });

  it('reads what a settings file gives', async () => {
    const { policy } = await parseMonitoringOptions({
      channels: ['HR'],
      window: 10,
      quantile: 0.5,
    });
    expect(policy).toMatchObject({ window: 10, thresholdScaled: 29_815n });
  });

  it('reads channels from a file, and chooses among them', async () => {
    const channel = (name: string): string =>
      `{name: ${name}, min: 30, max: 45, resolution: 0.1, noiseFloor: 0.2}`;
    const schema = await schemaFile(`channels: [${channel('TEMP')}, ${channel('SKIN')}]`);
    expect(await names({ schema })).toEqual(['TEMP', 'SKIN']);
    expect(await names({ schema, channels: 'SKIN' })).toEqual(['SKIN']);
    await expect(names({ schema, channels: 'HR' })).rejects.toThrow(/there are TEMP, SKIN/);
  });

  it.each<[MonitoringValues, string, string]>([
    [{ channels: 'HR,GLUCOSE' }, '--channels', 'there is no channel "GLUCOSE"; there are HR,'],
    [{ channels: 'HR,HR' }, '--channels', 'HR is named more than once'],
    [{ channels: '' }, '--channels', 'there is no channel ""'],
    [{ window: '5' }, '--window', 'must be a whole number from 6 to 4096'],
    [{ window: '20.5' }, '--window', 'must be a whole number from 6 to 4096'],
    [{ window: 'many' }, '--window', 'must be a whole number from 6 to 4096'],
    [{ window: '5000' }, '--window', 'must be a whole number from 6 to 4096'],
    [{ quantile: '0' }, '--quantile', 'must lie strictly between 0 and 1'],
    [{ quantile: '1' }, '--quantile', 'must lie strictly between 0 and 1'],
    [{ quantile: 'high' }, '--quantile', 'must lie strictly between 0 and 1'],
    [{ threshold: '0' }, '--threshold', 'must be a decimal number greater than 0'],
    [{ threshold: '-3' }, '--threshold', 'must be a decimal number greater than 0'],
    [{ threshold: 'high' }, '--threshold', 'must be a decimal number greater than 0'],
    [{ threshold: '9', quantile: '0.9' }, '--threshold', 'either this or --quantile'],
    [{ baseline: 'moving' }, '--baseline', 'must be one of fixed, rolling'],
    [{ baseline: 'rolling', retrainEvery: '0' }, '--retrain-every', 'at least 1'],
    [{ retrainEvery: '-1' }, '--retrain-every', 'must be a whole number'],
    [{ suite: 'fast' }, '--suite', 'must be one of reference, packed'],
    [{ suite: 'none' }, '--suite', 'must be one of'],
    [
      { suite: 'reference', output: 'level' },
      '--output',
      'must be distance with the reference suite',
    ],
    [{ quantile: '0.99,0.9' }, '--threshold or --quantile', 'must be ascending'],
    [{ output: 'distance', quantile: '0.9,0.99' }, '--threshold or --quantile', 'must be empty'],
    [{ output: 'all' }, '--output', 'must be one of distance, level'],
  ])('refuses %j', async (values, option, message) => {
    const error: unknown = await parseMonitoringOptions(values).catch((thrown: unknown) => thrown);
    if (!isDuoveilError(error, 'OPTION_INVALID')) throw error;
    expect(error.details.option).toBe(option);
    expect(error.message).toContain(message);
    expect(error.message.startsWith(`${option}: `)).toBe(true);
    expect(error.message).not.toContain('\n');
    expect(exitStatus(error)).toBe(2);
  });

  it.each([
    ['no channels', 'things: []', /channels must be a list/],
    [
      'a noise floor of 0',
      'channels: [{name: A, min: 0, max: 1, resolution: 1, noiseFloor: 0}]',
      /noiseFloor/,
    ],
    ['no YAML', 'channels: [', /neither YAML nor JSON/],
  ])('refuses a file of %s', async (_, content, message) => {
    const error: unknown = await names({ schema: await schemaFile(content) }).catch(
      (thrown: unknown) => thrown,
    );
    if (!isDuoveilError(error)) throw error;
    expect(error.message).toMatch(message);
    expect(exitStatus(error)).toBe(2);
  });

  it('refuses a file that is not there', async () => {
    await expect(names({ schema: join(directory, 'none.yaml') })).rejects.toThrow(/no such file/);
  });
});
