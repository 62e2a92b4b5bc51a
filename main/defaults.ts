/** What holds for a Broker, Channel, Trigger or Subscription that does not say otherwise. */
import type { Defaults } from '../controller/doors.ts';
import type { Settings } from './settings.ts';

export function defaultsOf(settings: Settings): Defaults {
  const { claimCheckReplyMaxBytes: replyMaxBytes, claimCheckQuotaBytes: quotaBytes } = settings;
  return {
    eventMaxBytes: settings.eventMaxBytes,
    attributesMaxBytes: settings.attributesMaxBytes,
    timeoutMs: settings.deliverTimeoutMs,
    idleMs: settings.claimCheckDeliverIdleMs,
    localHop: settings.isHopping,
    claims: {
      inlineMaxBytes: settings.claimCheckInlineMaxBytes,
      batchMaxBytes: settings.claimCheckBatchMaxBytes,
      ...(replyMaxBytes !== undefined && { replyMaxBytes }),
      ...(quotaBytes !== undefined && { quotaBytes }),
    },
  };
}
