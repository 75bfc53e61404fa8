import type { Problem } from './types.js';

/** The server refused a call, or could not be reached (status 0). */
export class ApiError extends Error {
  /** The HTTP status; 0 where there was no answer. */
  readonly status: number;
  /** The server's stable code, or `UNREACHABLE`. */
  readonly code: string;

  constructor(status: number, code: string, message: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.code = code;
  }
}

/** Whether an error says that nobody is signed in any more. */
export function isSignedOut(error: unknown): boolean {
  return error instanceof ApiError && error.status === 401;
}

/** What went wrong, in words for an operator. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An answer that is not a success, as an error: from its problem document, where it has one. */
export async function errorOf(response: Response): Promise<ApiError> {
  const problem = await readProblem(response);
  const said = problem?.detail ?? problem?.title;
  const message = said ?? `the server answered with status ${response.status}`;
  return new ApiError(response.status, problem?.code ?? 'UNKNOWN', message);
}

async function readProblem(response: Response): Promise<Partial<Problem> | undefined> {
  if (!(response.headers.get('content-type') ?? '').includes('json')) return undefined;
  try {
    return (await response.json()) as Partial<Problem>;
  } catch {
    return undefined;
  }
}
