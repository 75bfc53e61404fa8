/** How operators come to a throw-away SP over HTTP: their tokens, and where it is. */
import { createHash, randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** What an operator may do. */
export type OperatorRole = 'viewer' | 'operator' | 'admin';

/** The message with which an SP logs where it is; at level `info`. */
const LISTENING = 'http listening';

/** One operator a role, named as it. Hand {@link environment} to the servers, and their log to {@link take}. */
export class OperatorsAccess {
  readonly #tokens: ReadonlyMap<OperatorRole, string>;
  readonly #file: string;
  readonly #more: Readonly<Record<string, string>>;
  readonly #found: Promise<string>;
  #find: (url: string) => void = () => undefined;
  #listen = '127.0.0.1:0';

  private constructor(
    tokens: ReadonlyMap<OperatorRole, string>,
    file: string,
    more: Readonly<Record<string, string>>,
  ) {
    this.#more = more;
    this.#tokens = tokens;
    this.#file = file;
    this.#found = new Promise((resolve) => (this.#find = resolve));
  }

  /**
   * Draw tokens.
   * @param directory for the file of their hashes
   * @param more other settings of the SP, as variables
   */
  static async prepare(
    directory: string,
    more: Readonly<Record<string, string>> = {},
  ): Promise<OperatorsAccess> {
    const roles = ['viewer', 'operator', 'admin'] as const;
    const tokens = new Map(roles.map((role) => [role, randomBytes(32).toString('base64url')]));
    const operators = roles.map((role) => {
      const hash = createHash('sha256').update(tokens.get(role) ?? '');
      return { name: role, role, tokenSha256: hash.digest('hex') };
    });
    const file = join(directory, 'operators.yaml');
    // JSON is YAML.
    await writeFile(file, JSON.stringify({ operators }), { mode: 0o600 });
    return new OperatorsAccess(tokens, file, more);
  }

  /** The SP's settings. They are read at each start: once it has a port it keeps that. */
  get environment(): Readonly<Record<string, string>> {
    const listen = (): string => this.#listen;
    return {
      ...this.#more,
      DUOVEIL_HTTP_OPERATORS_FILE: this.#file,
      get DUOVEIL_HTTP_LISTEN() {
        return listen();
      },
    };
  }

  /** Look at a line of the SP's log. */
  take(line: string): void {
    if (!line.includes(`"${LISTENING}"`)) return;
    const { url } = JSON.parse(line) as { url: string };
    this.#listen = new URL(url).host;
    this.#find(url);
  }

  /** Where it is, once it has said so. */
  get url(): Promise<string> {
    return this.#found;
  }

  /** What an operator signs in with. */
  token(role: OperatorRole): string {
    return this.#tokens.get(role) ?? '';
  }
}
