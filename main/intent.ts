/**
 * The header with which something is changed by the admin server. Nobody is authenticated there, and a browser on this
 * machine sends whatever a page asks for. But not with a header of ours: for that it asks first, and is refused.
 */
export const INTENT_HEADER = 'knear-admin';
