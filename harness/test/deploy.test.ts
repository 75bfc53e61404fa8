/**
 * The samples in `deploy/`, as far as they can be checked without a container engine or a cluster: every
 * configuration goes through the loader of the programme that it is for, every manifest through its
 * kind's schema, and what one file says of another is so.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { metrics, resolveSettings, systemClock } from '@duoveil/common/runtime';
import { afterAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import type { z } from 'zod';

import { cspSettings } from '../../csp/src/config.js';
import { alarmPolicy } from '../../service-provider/src/alarms/policy.js';
import { alarmPolicyOf, spSettings } from '../../service-provider/src/config.js';
import { parseOperators } from '../../service-provider/src/http/operators.js';
import { httpOptions } from '../../service-provider/src/http/settings.js';
import { webhookOf } from '../../service-provider/src/outlets/settings.js';
import { root } from './documents.js';

const deploy = join(root, 'deploy');
const text = (path: string): string => readFileSync(join(deploy, path), 'utf8');
const scratch = mkdtempSync(join(tmpdir(), 'duoveil-test-'));
afterAll(() => {
  rmSync(scratch, { recursive: true });
});

/** Whether there is such a programme here. */
function present(programme: string, ...parameters: string[]): boolean {
  return spawnSync(programme, parameters).status === 0;
}

type Node = Record<string, unknown>;
const object = (value: unknown): Node => (value ?? {}) as Node;
const list = (value: unknown): Node[] => (value ?? []) as Node[];
/** What is at a path of keys; an empty object where nothing is. */
const at = (value: unknown, ...path: (string | number)[]): unknown =>
  path.reduce<unknown>((inner, key) => object(inner)[key], value);

describe('the samples of settings', () => {
  /** Settings that have no place in the file: given by the environment where it is deployed. */
  const digest = `sha256:${'0'.repeat(64)}`;
  test.each<[file: string, schema: z.ZodObject, environment: Record<string, string>]>([
    ['compose/csp/csp.yaml', cspSettings, {}],
    ['compose/sp/sp.yaml', spSettings, { DUOVEIL_PARAMETERS_DIGEST: digest }],
    ['kubernetes/csp/csp.yaml', cspSettings, {}],
    ['kubernetes/sp/sp.yaml', spSettings, {}],
    ['systemd/csp.yaml', cspSettings, { DUOVEIL_PASSPHRASE: 'from LoadCredential' }],
    [
      'systemd/sp.yaml',
      spSettings,
      { DUOVEIL_STORE_KEY: '7'.repeat(64), DUOVEIL_WEBHOOK_SECRET: '7'.repeat(64) },
    ],
  ])('%s is what the programme reads', async (name, schema, environment) => {
    // Secrets are files of the place where it is deployed.
    const secrets = join(scratch, 'secrets');
    mkdirSync(secrets, { recursive: true });
    const content = text(name).replaceAll('/run/secrets/', `${secrets}/`);
    for (const [, secret = ''] of content.matchAll(/\/secrets\/([\w-]+)$/gm)) {
      writeFileSync(join(secrets, secret), '7'.repeat(64), { mode: 0o600 });
    }
    const file = join(scratch, 'settings.yaml');
    writeFileSync(file, content);
    const settings = await resolveSettings({ schema, file, environment });
    expect(Object.keys(settings)).toEqual(
      expect.arrayContaining(Object.keys(object(parse(content))).filter((key) => key in settings)),
    );
    if (schema === spSettings) expect(httpOptions(spSettings.parse(settings))).toBeDefined();
    if (schema === spSettings) await expectAlarms(content, environment);
    const spoilt = join(scratch, 'spoilt.yaml');
    writeFileSync(spoilt, `${content}\nlistens: nowhere\n`);
    await expect(resolveSettings({ schema, file: spoilt, environment })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
    });
  });
});

/** Alarms are as by default until somebody changes them; with the lines in comments, they are told. */
async function expectAlarms(content: string, environment: Record<string, string>): Promise<void> {
  const load = async (settings: string) => {
    const file = join(scratch, 'alarms.yaml');
    writeFileSync(file, settings);
    return resolveSettings({ schema: spSettings, file, environment });
  };
  const before = await load(content);
  expect(alarmPolicyOf(before)).toEqual(alarmPolicy());
  expect(webhookOf(before, systemClock)).toBeUndefined();
  const all = content.replaceAll(/^# (?=\w+: )/gm, '');
  expect(Object.keys(object(parse(all)))).toEqual(
    expect.arrayContaining(['alarmRules', 'gapAfter', 'silentAfter', 'escalateAfter']),
  );
  const after = await load(all);
  expect(alarmPolicyOf(after)).toEqual(alarmPolicy({ rebaselineAfter: 3600 }));
  expect(after).toMatchObject({ webhookUrl: 'https://alarms.example.org/hook' });
  expect(after.webhookFormat).toBe('fhir');
  expect(webhookOf(after, systemClock)).toBeDefined();
}

test.each(['kubernetes/sp/operators.yaml', 'systemd/operators.yaml'])(
  '%s is what the service provider reads, and lets nobody in yet',
  (name) => {
    expect(() => parseOperators(text(name), name)).not.toThrow();
    expect(parse(text(name))).toEqual({ operators: [] });
  },
);

describe('containers', () => {
  const services = ['csp', 'service-provider', 'gateway'];
  test.each(services)('%s is built from what is here, and runs as nobody in particular', (name) => {
    const lines = text(`containers/${name}.Dockerfile`).split('\n');
    const programme = /ENTRYPOINT \["node", "\/opt\/duoveil\/(.+)"\]/.exec(lines.join('\n'))?.[1];
    expect(programme).toBe(`${name}/dist/main.js`);
    expect(readFileSync(join(root, name, 'src/main.ts'), 'utf8')).toContain('runProgram');
    for (const line of lines) {
      const source = /^COPY --from=build \/src\/(\S+)/.exec(line)?.[1];
      if (source === undefined || /(dist|build|node_modules)$/.test(source)) continue;
      expect(readFileSync(join(root, source), 'utf8')).not.toBe('');
    }
    expect(lines.findLastIndex((line) => line === 'USER node')).toBeGreaterThan(
      lines.findLastIndex((line) => line.startsWith('RUN ')),
    );
    expect(lines.join('\n')).toMatch(/ARG NODE=\d+\.\d+\.\d+\n/);
    const workspaces = readdirSync(root, { withFileTypes: true }).map((entry) => entry.name);
    expect(workspaces).toContain(name);
  });
});

describe('compose.yaml', () => {
  const compose = object(parse(text('compose/compose.yaml'), { merge: true }));
  const services = object(compose['services']);

  test('mounts files that are here, and secrets that it names', () => {
    for (const [name, service] of Object.entries(services)) {
      for (const volume of (object(service)['volumes'] ?? []) as string[]) {
        const [source = ''] = volume.split(':');
        if (!source.startsWith('./') || source.startsWith('./secrets/')) continue;
        expect(
          present('test', '-e', resolve(deploy, 'compose', source)),
          `${name}: ${source}`,
        ).toBe(true);
      }
      for (const secret of (object(service)['secrets'] ?? []) as string[]) {
        expect(Object.keys(object(compose['secrets'])), name).toContain(secret);
      }
      expect(object(service)['image'], name).toMatch(/^duoveil\/[\w-]+:\d|:v?\d+\.\d+/);
      const built = at(service, 'build', 'dockerfile') as string | undefined;
      if (built !== undefined) expect(present('test', '-f', join(root, built))).toBe(true);
    }
  });

  test('lets gateways reach the service provider only, and it alone the CSP and the database', () => {
    const on = (network: string): string[] =>
      Object.keys(services).filter((name) =>
        ((object(services[name])['networks'] ?? []) as string[]).includes(network),
      );
    expect(on('edge')).toEqual(['sp']);
    expect(on('protocol')).toEqual(['csp', 'sp']);
    expect(on('data')).toEqual(['sp', 'postgres']);
    expect(on('operators')).toEqual(['sp', 'grafana']);
  });

  test('asks Prometheus for metrics that there are', () => {
    const underscored = (name: string): string => name.replaceAll('.', '_');
    const abouts = Object.values(metrics).map(({ about }) => about);
    const names = abouts.map(({ name }) => underscored(name));
    const labels = abouts.flatMap((about) => about.labels.map(underscored));
    for (const file of ['prometheus/alerts.yaml', 'grafana/dashboards/duoveil.json']) {
      const asked = text(`compose/${file}`).match(/\b(duoveil|rpc|process)_\w+/g) ?? [];
      expect(asked.length).toBeGreaterThan(4);
      for (const name of asked) {
        const base = name.replace(/_(total|bucket|count)$/, '');
        expect([...names, ...labels], `${file}: ${name}`).toContain(base);
      }
    }
  });

  test('hardens our servers', () => {
    for (const name of ['csp', 'sp']) {
      expect(services[name]).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        ulimits: { core: 0 },
      });
    }
  });
});

describe('kubernetes', () => {
  const folders = ['csp', 'sp'] as const;
  /** Files that become ConfigMaps, and are no manifests. */
  const mapped = (folder: string): unknown[] =>
    list(at(parse(text(`kubernetes/${folder}/kustomization.yaml`)), 'configMapGenerator')).flatMap(
      ({ files }) => files,
    );
  const manifestsIn = (folder: string): Node[] =>
    readdirSync(join(deploy, 'kubernetes', folder))
      .filter((name) => name !== 'kustomization.yaml' && !mapped(folder).includes(name))
      .flatMap((name) => parseAllDocuments(text(`kubernetes/${folder}/${name}`)))
      .map((document) => document.toJS() as Node);

  /** @returns what the schema of the manifest's kind does not allow. */
  async function violations(manifest: Node): Promise<string[]> {
    const kind = String(manifest['kind']);
    const module = (await import(
      /* @vite-ignore */ `kubernetes-models/${String(manifest['apiVersion'])}/${kind}`
    )) as Record<string, new (value: Node) => { validate(): void }>;
    const Kind = module[kind];
    if (Kind === undefined) return [`there is no kind ${kind}`];
    try {
      new Kind(manifest).validate();
      return [];
    } catch (error) {
      return [String(error)];
    }
  }

  test.each(folders)('%s: every manifest is of its kind', async (folder) => {
    const listed = object(parse(text(`kubernetes/${folder}/kustomization.yaml`)))['resources'];
    const there = readdirSync(join(deploy, 'kubernetes', folder)).filter(
      (name) => name !== 'kustomization.yaml' && !mapped(folder).includes(name),
    );
    expect([...(listed as string[])].sort()).toEqual(there.sort());
    for (const manifest of manifestsIn(folder)) expect(await violations(manifest)).toEqual([]);
    const service = manifestsIn(folder).find(({ kind }) => kind === 'Service');
    expect(await violations({ ...service, spec: { ports: 'none' } })).not.toEqual([]);
  });

  test.each(folders)('%s: pods are restricted, probed, and reached where they listen', (folder) => {
    const manifests = manifestsIn(folder);
    const workload = manifests.find(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment');
    const pod = at(workload, 'spec', 'template', 'spec');
    expect(at(pod, 'securityContext')).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(at(pod, 'automountServiceAccountToken')).toBe(false);
    const containers = [...list(at(pod, 'containers')), ...list(at(pod, 'initContainers'))];
    for (const container of containers) {
      expect(container['securityContext']).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      });
      expect(at(container, 'resources', 'limits')).toBeDefined();
    }
    const [server] = list(at(pod, 'containers'));
    for (const probe of ['startupProbe', 'livenessProbe', 'readinessProbe']) {
      expect(at(server, probe, 'httpGet', 'port')).toBe('metrics');
    }
    const settings = object(parse(text(`kubernetes/${folder}/${folder}.yaml`)));
    const ports = list(at(server, 'ports')).map(({ containerPort }) => containerPort);
    const listens = [settings['listen'], settings['metricsListen'], settings['httpListen']]
      .filter((address) => address !== undefined)
      .map((address) => Number((address as string).split(':').at(-1)));
    expect(ports).toEqual(listens);
    const service = manifests.find(({ kind }) => kind === 'Service');
    expect(at(service, 'spec', 'ports', 0)).toMatchObject({ port: ports[0], targetPort: 'grpc' });
    expect(at(workload, 'spec', 'template', 'metadata', 'labels')).toMatchObject(
      object(at(service, 'spec', 'selector')),
    );
    expect(at(workload, 'spec', 'selector', 'matchLabels')).toEqual(
      at(service, 'spec', 'selector'),
    );
    const volumes = list(at(pod, 'volumes')).map(({ name }) => name);
    const claims = list(at(workload, 'spec', 'volumeClaimTemplates')).map((one) =>
      at(one, 'metadata', 'name'),
    );
    for (const { name } of list(at(server, 'volumeMounts'))) {
      expect([...volumes, ...claims]).toContain(name);
    }
  });

  test('the CSP gets what is sealed, and no key back that was retired', () => {
    const workload = manifestsIn('csp').find(({ kind }) => kind === 'StatefulSet');
    const [sealed, state] = [join(scratch, 'sealed'), join(scratch, 'csp-state')];
    for (const path of [sealed, state]) mkdirSync(path);
    const [, ...command] = (
      at(workload, 'spec', 'template', 'spec', 'initContainers', 0, 'command') as string[]
    ).map((part) => part.replaceAll('/sealed', sealed).replaceAll('/var/lib/duoveil', state));
    const copied = (): Record<string, string> => {
      execFileSync('sh', command);
      const names = readdirSync(state);
      return Object.fromEntries(
        names.map((name) => [name, readFileSync(join(state, name), 'utf8')]),
      );
    };
    const first = { 'custody.json': 'locks', 'generation-0001.json': 'key' };
    for (const [name, content] of Object.entries(first)) {
      writeFileSync(join(sealed, name), content, { mode: 0o440 });
    }
    expect(copied()).toEqual(first);
    writeFileSync(join(state, 'generation-0001.json'), 'retired');
    writeFileSync(join(state, 'audit.log'), 'lines');
    const later = new Date(Date.now() + 60_000);
    for (const name of Object.keys(first)) utimesSync(join(sealed, name), later, later);
    writeFileSync(join(sealed, 'generation-0002.json'), 'new');
    expect(copied()).toEqual({
      'audit.log': 'lines',
      'custody.json': 'locks',
      'generation-0001.json': 'retired',
      'generation-0002.json': 'new',
    });
    for (const name of ['custody.json', 'generation-0002.json']) {
      expect(statSync(join(state, name)).mode & 0o777).toBe(0o600);
    }
  });

  test('the CSP reaches nobody, and the service provider what it needs', () => {
    const policy = (folder: string): unknown =>
      manifestsIn(folder).find(({ kind }) => kind === 'NetworkPolicy');
    expect(at(policy('csp'), 'spec')).toMatchObject({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
      egress: [],
    });
    const reached = list(at(policy('sp'), 'spec', 'egress')).map((rule) =>
      at(rule, 'ports', 0, 'port'),
    );
    expect(reached).toEqual([7001, 5432, 53]);
    const reachable = list(at(policy('sp'), 'spec', 'ingress')).map((rule) => [
      at(rule, 'ports', 0, 'port'),
      at(rule, 'from', 0, 'namespaceSelector', 'matchLabels', 'kubernetes.io/metadata.name'),
    ]);
    expect(reachable).toEqual([
      ['grpc', undefined],
      ['http', 'ingress'],
      ['metrics', 'monitoring'],
    ]);
    const [, operators] = manifestsIn('sp').filter(({ kind }) => kind === 'Service');
    expect(at(operators, 'spec', 'ports', 0)).toMatchObject({ port: 443, targetPort: 'http' });
    expect(at(policy('sp'), 'spec')).toMatchObject({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    });
  });

  test.skipIf(!present('kubectl', 'kustomize', '--help'))('kustomize renders it', async () => {
    const rendered = execFileSync('kubectl', ['kustomize', join(deploy, 'kubernetes')]).toString();
    const manifests = parseAllDocuments(rendered).map((document) => document.toJS() as Node);
    expect(manifests.length).toBeGreaterThan(10);
    for (const manifest of manifests) expect(await violations(manifest)).toEqual([]);
  });
});

describe('systemd', () => {
  const units = readdirSync(join(deploy, 'systemd')).filter((name) => name.endsWith('.service'));

  test.each(units)('%s starts a programme of ours, with no privilege', (name) => {
    const unit = text(`systemd/${name}`);
    const programme =
      /^ExecStart=\/usr\/bin\/node \/opt\/duoveil\/(\S+)\/dist\/main\.js (\w+)/m.exec(unit);
    expect(['csp', 'service-provider', 'gateway']).toContain(programme?.[1]);
    for (const line of [
      'DynamicUser=yes',
      'NoNewPrivileges=yes',
      'LimitCORE=0',
      'CapabilityBoundingSet=',
    ]) {
      expect(unit.split('\n')).toContain(line);
    }
  });

  test('every secret of the service provider is a credential', () => {
    // With the lines in comments, too.
    const unit = text('systemd/duoveil-sp.service').replaceAll(/^# (?=\w+=)/gm, '');
    const loaded = [...unit.matchAll(/^LoadCredential=([\w-]+):/gm)].map(([, name]) => name);
    const given = [...unit.matchAll(/DUOVEIL_(\w+)_FILE=%d\/([\w-]+)/g)];
    expect(given.map(([, , name]) => name)).toEqual(loaded);
    expect(given.map(([, setting]) => setting)).toEqual(['STORE_KEY', 'WEBHOOK_SECRET']);
  });

  test.skipIf(!present('systemd-analyze', '--version'))(
    'systemd-analyze finds nothing wrong',
    () => {
      for (const name of units) {
        // Where it looks for the programmes, there are none here.
        const unit = text(`systemd/${name}`).replace('/usr/bin/node', process.execPath);
        const file = join(scratch, name.replace('@.', '@one.'));
        writeFileSync(file, unit);
        const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', file]);
        expect(stderr.toString()).toBe('');
        expect(status).toBe(0);
        const spoilt = join(scratch, `spoilt-${name.replace('@.', '@one.')}`);
        writeFileSync(spoilt, unit.replace('PrivateTmp=yes', 'PrivateTmp=perhaps'));
        expect(
          spawnSync('systemd-analyze', ['verify', '--man=no', spoilt]).stderr.toString(),
        ).not.toBe('');
      }
    },
  );
});

test('what the documents name is there', () => {
  const document = readFileSync(join(root, 'docs/deploying.md'), 'utf8');
  for (const [, path = ''] of document.matchAll(/\]\((\.\.\/deploy\/[^)#]+)\)/g)) {
    expect(present('test', '-e', resolve(root, 'docs', path)), path).toBe(true);
  }
});
