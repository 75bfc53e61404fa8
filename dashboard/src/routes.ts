/** Pages have addresses after the `#`: the server needs to know of one page only. */
import { useEffect, useState } from 'preact/hooks';

/** What is shown. */
export type Route =
  | { readonly page: 'fleet' }
  | { readonly page: 'patient'; readonly patient: string }
  | { readonly page: 'alarms' }
  | { readonly page: 'system' }
  | { readonly page: 'sign-in'; readonly token: string };

/** The address of the fleet. */
export const FLEET = '#/fleet';
/** The address of the alarms. */
export const ALARMS = '#/alarms';
/** The address of the servers' state. */
export const SYSTEM = '#/system';

/** The address of a patient. */
export function patientAddress(patient: string): string {
  return `#/patients/${encodeURIComponent(patient)}`;
}

/** What an address shows; the fleet for one that is not known. */
export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?');
  const [, page = '', name = ''] = /^\/([^/]*)\/?(.*)$/.exec(path) ?? [];
  if (page === 'patients' && name !== '') return { page: 'patient', patient: decode(name) };
  if (page === 'sign-in') {
    return { page: 'sign-in', token: new URLSearchParams(query).get('token') ?? '' };
  }
  return page === 'alarms' || page === 'system' ? { page } : { page: 'fleet' };
}

/** Where the browser is. */
export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = (): void => {
      setHash(location.hash);
    };
    addEventListener('hashchange', follow);
    return () => {
      removeEventListener('hashchange', follow);
    };
  }, []);
  return parseRoute(hash);
}

function decode(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
