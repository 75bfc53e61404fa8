/** What operators may do over HTTP: each role may do all that those before it may. */
export const operatorRoles = ['viewer', 'operator', 'admin'] as const;

/** A viewer reads; an operator also acts on alarms and baselines; an admin also on the server itself. */
export type OperatorRole = (typeof operatorRoles)[number];

/** Does a role allow what at least another one is needed for? */
export function allows(role: OperatorRole, needed: OperatorRole): boolean {
  return operatorRoles.indexOf(role) >= operatorRoles.indexOf(needed);
}

/** The one that allows the most; undefined of none. */
export function highest(roles: readonly OperatorRole[]): OperatorRole | undefined {
  return operatorRoles.findLast((role) => roles.includes(role));
}
