/** What a schema finds wrong with a document, in the words of the person who wrote the file. */
import type { ErrorObject } from 'ajv';
import { suggestion } from '../suggest.ts';
import { quoted, type Fault, type Path } from './faults.ts';
import type { KindSchema } from './schemas.ts';

export function schemaFaults({ validator }: KindSchema, value: unknown): Fault[] {
  const validate = validator();
  return validate(value) ? [] : (validate.errors ?? []).map(explain);
}

/** One error of ajv. */
function explain(error: ErrorObject): Fault {
  const path = error.instancePath.split('/').slice(1).map(unescape);
  const params: Record<string, unknown> = error.params;
  switch (error.keyword) {
    case 'additionalProperties': {
      const name = String(params['additionalProperty']);
      const known = Object.keys((error.parentSchema?.['properties'] ?? {}) as object);
      return { path: [...path, name], detail: `unknown field${suggestion(name, known)}` };
    }
    case 'required':
      return { path, detail: `${String(params['missingProperty'])} is missing` };
    case 'type':
      return { path, detail: explainType(error, path) };
    case 'enum': {
      const allowed = (params['allowedValues'] as unknown[]).map(String);
      const hint = suggestion(String(error.data), allowed);
      return { path, detail: `${quoted(error.data)} is not one of ${allowed.join(', ')}${hint}` };
    }
    case 'pattern': {
      const rule = String(error.parentSchema?.['description']);
      return { path, detail: `${quoted(error.data)} does not fit: ${rule}` };
    }
    case 'minLength':
    case 'minItems':
      return { path, detail: 'must not be empty' };
    default:
      return { path, detail: error.message ?? error.keyword };
  }
}

function explainType({ data, params }: ErrorObject, path: Path): string {
  const wanted = String((params as Record<string, unknown>)['type']).replaceAll(',', ' or ');
  const hint = wanted === 'string' && typeof data !== 'object' ? ' (put it in quotes)' : '';
  // The data of a Secret must not come into a log.
  const isSecret = path[0] === 'data' || path[0] === 'stringData';
  const what = isSecret ? 'this' : quoted(data);
  return `must be of type ${wanted}, ${what} is not${hint}`;
}

/** JSON Pointer, section 4; a part in digits is an index where it leads into a list. */
function unescape(part: string): string | number {
  const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
  return /^\d+$/.test(name) ? Number(name) : name;
}
