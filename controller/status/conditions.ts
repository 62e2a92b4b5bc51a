/**
 * Conditions as Knative writes them: one a thing that can be wrong, and `Ready`, which sums them up.
 * Source: knative.dev/pkg, apis.NewLivingConditionSet; Knative specifications, "Error Signalling".
 */

export interface Condition {
  readonly type: string;
  readonly status: 'True' | 'False' | 'Unknown';
  /** Absent: an error where it is not True. `Info`: a hint, which `Ready` does not count. */
  readonly severity?: 'Info';
  readonly reason?: string;
  readonly message?: string;
  /** RFC 3339; since when it has said the same. */
  readonly lastTransitionTime?: string;
}

export interface Reason {
  readonly reason: string;
  readonly message?: string;
}

export function isTrue(type: string, why?: Reason): Condition {
  return { type, status: 'True', ...why };
}

export function isFalse(type: string, why: Reason): Condition {
  return { type, status: 'False', ...why };
}

export function isUnknown(type: string, why?: Reason): Condition {
  return { type, status: 'Unknown', ...why };
}

/** A hint: something that is not read. */
export function hint(message: string): Condition {
  return { type: 'Hints', status: 'True', severity: 'Info', reason: 'NotRead', message };
}

/** True, False or Unknown with the reason of another condition. */
export function like(type: string, { status, reason, message }: Condition): Condition {
  return {
    type,
    status,
    ...(reason !== undefined && { reason }),
    ...(message !== undefined && { message }),
  };
}

const READY = 'Ready';

/** `Ready`: the first that is False, else the first that is Unknown, else True. In the order of their types. */
export function withReady(conditions: readonly Condition[]): Condition[] {
  const counted = conditions.filter(({ severity }) => severity === undefined);
  const why =
    counted.find(({ status }) => status === 'False') ??
    counted.find(({ status }) => status === 'Unknown');
  return [...conditions, why ? like(READY, why) : isTrue(READY)].toSorted((a, b) =>
    a.type < b.type ? -1 : 1,
  );
}

export function readyOf(conditions: readonly Condition[]): Condition {
  return conditions.find(({ type }) => type === READY) ?? isUnknown(READY);
}

/** The same conditions, each with the time since when it has said the same. */
export function sinceWhen(
  conditions: readonly Condition[],
  before: readonly Condition[],
  now: string,
): Condition[] {
  return conditions.map((condition) => {
    const known = before.find(({ type }) => type === condition.type);
    const isSame =
      known?.status === condition.status &&
      known.reason === condition.reason &&
      known.message === condition.message;
    return { ...condition, lastTransitionTime: (isSame && known.lastTransitionTime) || now };
  });
}
