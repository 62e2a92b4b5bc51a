/** What the value of a setting may be, in words: for messages, help and docs. */
import { CLAIM_STORE } from '../controller/claims.ts';
import { sizeWords } from '../core/size.ts';
import {
  LOCAL_HOPS,
  LOG_LEVELS,
  NATS_DURABILITIES,
  SETTINGS,
  type SettingName,
  type SettingRow,
} from './settings-table.ts';

export function rangeOf(name: SettingName): string {
  const { kind, min = '', max = '' } = SETTINGS[name] as SettingRow;
  switch (kind) {
    case 'folder':
    case 'file':
      return 'a path';
    case 'host':
      return 'an address or a host name';
    case 'level':
      return `one of ${LOG_LEVELS.join(', ')}`;
    case 'port':
    case 'count':
      return `a whole number from ${min} to ${max}`;
    case 'size':
      return sizeWords(min, max);
    case 'url':
      return 'an http or https URL';
    case 'servers':
      return 'nats:// or tls:// with host and port, or several, separated by commas';
    case 'prefix':
      return 'up to 16 lower-case letters, digits and -';
    case 'name':
      return 'a name without spaces';
    case 'places':
      return 'ZONE/NODE or ZONE/NODE/POD, or several, separated by commas';
    case 'hop':
      return `one of ${LOCAL_HOPS.join(', ')}`;
    case 'durability':
      return `one of ${NATS_DURABILITIES.join(', ')}`;
    case 'store':
      return `${CLAIM_STORE}: there is no other store yet`;
    case 'flag':
      return 'true or false';
    case 'share':
      return `a number from ${min} to ${max}`;
    case 'duration':
      return `an ISO 8601 duration such as PT30S from ${min} to ${max}`;
  }
}
