import { Metadata } from '@grpc/grpc-js';
import { ParametersServiceService } from '@duoveil/proto';
import { afterEach, expect, it } from 'vitest';
import { callUnary, connect } from './client.js';
import { authority, identity, issue, Loopback } from './fixture.js';
import { namedGeneration } from './generation.js';
import { implement, unary } from './service.js';

const loopback = new Loopback();
afterEach(() => loopback.close());

const digest = 'ab'.repeat(32);

it('is named in every call of a connection that is for one', async () => {
  const issuer = await authority();
  const heard: (string | undefined)[] = [];
  const service = implement(ParametersServiceService, {
    getParameters: unary({ roles: ['sp'] }, (_request, { parametersDigest }) => {
      heard.push(parametersDigest);
      return Promise.resolve({ parameters: undefined });
    }),
  });
  const server = await loopback.serve(await issue(issuer, identity('csp')), [service]);
  const tls = await issue(issuer, identity('sp'));
  for (const named of [{}, { parametersDigest: digest }]) {
    const { address } = server;
    const connection = connect({ address, tls, expectRole: 'csp', ...named });
    for (let i = 0; i < 2; i += 1) {
      await callUnary(connection, ParametersServiceService.getParameters, {}, { deadlineMs: 5000 });
    }
    connection.close();
  }
  expect(heard).toEqual([undefined, undefined, digest, digest]);
});

it('is one digest, or the call is refused', () => {
  const metadata = new Metadata();
  metadata.set('duoveil-parameters', digest);
  expect(namedGeneration(metadata)).toBe(digest);
  for (const wrong of ['', 'ab', digest.toUpperCase(), `${digest}00`]) {
    metadata.set('duoveil-parameters', wrong);
    expect(() => namedGeneration(metadata)).toThrow(/must be one digest/);
  }
  metadata.set('duoveil-parameters', digest);
  metadata.add('duoveil-parameters', digest);
  expect(() => namedGeneration(metadata)).toThrow(/must be one digest/);
});
