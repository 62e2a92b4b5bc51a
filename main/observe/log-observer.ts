/** What an operator reads: one line a change of state, nothing for each event unless `debug` is on. Never payloads. */
import type { Logger } from 'pino';

import { attributeText } from '../../core/event.ts';
import type { Happening, Observer } from '../../core/ports/observer.ts';

export function logObserver(logger: Logger): Observer {
  const isDebug = logger.isLevelEnabled('debug');
  return {
    observe(happening) {
      tellState(happening, logger);
      if (isDebug) tellEvent(happening, logger);
    },
  };
}

function tellState(happening: Happening, logger: Logger): void {
  switch (happening.kind) {
    case 'log-state':
      if (happening.isAccepting) logger.info('the log takes events again');
      else
        logger.error(
          { code: happening.code },
          'the log takes no events; see docs/errors.md for the code',
        );
      return;
    case 'discarded': {
      const { egressId, end, count, reason } = happening;
      logger.warn({ egressId, end, count, reason }, 'events were discarded');
      return;
    }
    case 'ended':
      if (happening.end === 'parked' || happening.end === 'dropped') tellLost(happening, logger);
      return;
    case 'log-gap':
      logger.error(
        { egressId: happening.egressId },
        `what waited may be lost: ${happening.detail}`,
      );
      return;
    case 'lease-lost':
      logger.warn({ egressId: happening.egressId, lease: happening.lease }, 'a lease ran out');
      return;
    case 'accepted':
    case 'refused':
    case 'attempted':
    case 'rerouted':
    case 'hop':
    case 'waiting':
    // What ails the store is told once, when it begins.
    case 'stalled':
    case 'committed':
      return;
  }
}

/** An event that nobody took is worth a line of its own: there is something to repair and, if parked, to replay. */
function tellLost(happening: Extract<Happening, { kind: 'ended' }>, logger: Logger): void {
  const { egress, event, end, failure } = happening;
  const fields = {
    egressId: egress.id,
    eventId: attributeText(event, 'id'),
    source: attributeText(event, 'source'),
    code: failure?.code,
    status: failure?.status,
    dest: failure?.dest,
  };
  logger.warn(fields, end === 'parked' ? 'an event was parked' : 'an event was dropped');
}

function tellEvent(happening: Happening, logger: Logger): void {
  switch (happening.kind) {
    case 'attempted': {
      const { event, egress, reply, ...rest } = happening;
      const names = { egressId: egress.id, eventId: attributeText(event, 'id') };
      const replyId = reply && { replyId: attributeText(reply, 'id') };
      logger.debug({ ...rest, ...names, ...replyId }, 'delivery');
      return;
    }
    case 'ended': {
      const { event, egress, failure, ...rest } = happening;
      const names = { egressId: egress.id, eventId: attributeText(event, 'id') };
      // What the other side answered is data, too.
      const why = failure && { code: failure.code, status: failure.status, dest: failure.dest };
      logger.debug({ ...rest, ...names, ...why }, 'delivery');
      return;
    }
    case 'stalled':
    case 'waiting': {
      const { event, egress, ...rest } = happening;
      const id = attributeText(event, 'id');
      logger.debug({ ...rest, egressId: egress.id, eventId: id }, 'delivery');
      return;
    }
    case 'accepted':
      logger.debug(
        { ingressId: happening.ingress.id, eventId: attributeText(happening.event, 'id') },
        'accepted',
      );
      return;
    case 'refused':
      logger.debug({ ingressId: happening.ingress?.id, code: happening.code }, 'refused');
      return;
    case 'rerouted':
      logger.debug({ egressId: happening.egress.id }, 'an endpoint is passed over');
      return;
    case 'hop': {
      const { event, egress, ingress, result, to } = happening;
      const eventId = attributeText(event, 'id');
      logger.debug({ result, to, egressId: egress.id, ingressId: ingress.id, eventId }, 'hop');
      return;
    }
    case 'discarded':
    case 'lease-lost':
    case 'log-gap':
    case 'committed':
    case 'log-state':
      return;
  }
}
