// errors.js: every error that doppler-web throws, each with a `code` that programs can act on.

/** @typedef {'abort'|'argument'|'memory'|'io'|'not-found'|'format'|'corrupt'|'unsupported'|'context'|'storage-full'|
 *  'device'|'network'|'http'|'content-type'|'locked'|'crashed'|'closed'|'storage'|'internal'} ErrorCode */

/** What went wrong, with a code; `details` holds the numbers behind the message. */
export class DopplerError extends Error {
  /** @param {ErrorCode} code @param {string} message @param {object} [details] */
  constructor(code, message, details = {}) {
    super(message);
    this.name = 'DopplerError';
    this.code = code;
    this.details = details;
  }
}

/** A download failed: no connection, a server's refusal, an unexpected kind of answer. */
export class NetworkError extends DopplerError {
  constructor(code, message, details) {
    super(code, message, details);
    this.name = 'NetworkError';
  }
}

/** The bytes of a shard are not the ones that the manifest promises. */
export class CorruptError extends DopplerError {
  constructor(message, details) {
    super('corrupt', message, details);
    this.name = 'CorruptError';
  }
}

/** The browser's storage has no room: details {needed, available, missing, evictable: [{key, name, bytes, used}]}. */
export class StorageFullError extends DopplerError {
  constructor(message, details) {
    super('storage-full', message, details);
    this.name = 'StorageFullError';
  }
}

/** The GPU was lost or refused; loading the model again opens it anew. */
export class DeviceError extends DopplerError {
  constructor(message, details) {
    super('device', message, details);
    this.name = 'DeviceError';
  }
}

// dp_status of include/doppler.h, in order
const statusCodes = ['', 'argument', 'memory', 'io', 'not-found', 'format', 'corrupt', 'unsupported', 'context', 'storage-full',
  'abort', 'device'];

/** The error for a dp_status and the message that belongs to it. */
export function errorOfStatus(status, message) {
  return makeError(statusCodes[status] ?? 'internal', message);
}

/** Makes an error of the class that its code belongs to; what crosses from the worker is made again with it. */
export function makeError(code, message, details) {
  switch (code) {
    case 'abort': return abortError(message);
    case 'device': return new DeviceError(message, details);
    case 'corrupt': return new CorruptError(message, details);
    case 'storage-full': return new StorageFullError(message, details);
    case 'network': case 'http': case 'content-type': return new NetworkError(code, message, details);
    default: return new DopplerError(code, message, details);
  }
}

/** Bytes for people. */
export function sizeText(bytes) {
  const unit = bytes < 1e6 ? 1 : bytes < 1e9 ? 2 : 3;
  return `${(bytes / 1000 ** unit).toFixed(unit === 3 ? 2 : unit === 2 && bytes < 1e8 ? 1 : 0)} ${['', 'kB', 'MB', 'GB'][unit]}`;
}

/** What an aborted signal throws: a DOMException named AbortError, as fetch has it. */
export function abortError(message = 'aborted') {
  return new DOMException(message, 'AbortError');
}

export function throwIfAborted(signal) {
  if (signal?.aborted) throw abortError(typeof signal.reason === 'string' ? signal.reason : undefined);
}

/** Whether C was left in the middle: a trap, or a stack that is full. Its module is of no further use. */
export const isCrash = (error) => error instanceof WebAssembly.RuntimeError || (error instanceof RangeError && /call stack/i.test(error.message));

const STORAGE_FAILURES = new Set(['NotFoundError', 'InvalidStateError', 'NotReadableError', 'NoModificationAllowedError', 'InvalidModificationError']);

/** An error as plain data, for postMessage. */
export function packError(error) {
  if (error?.name === 'AbortError') return { code: 'abort', message: error.message, details: {} };
  if (error instanceof DopplerError) return { code: error.code, message: error.message, details: error.details };
  if (error?.name === 'QuotaExceededError') return { code: 'storage-full', message: `the browser's storage is full: ${error.message}`, details: {} };
  if (isCrash(error)) return { code: 'crashed', message: `the engine failed (${error.message}); load the model again`, details: {} };
  if (STORAGE_FAILURES.has(error?.name)) return { code: 'storage', message: `the browser's storage failed (${error.name}: ${error.message}); was it cleared? Load the model again`, details: {} };
  if (error instanceof RangeError && /memory/i.test(error.message)) return { code: 'memory', message: error.message, details: {} };
  return { code: 'internal', message: String(error?.stack ?? error), details: {} };
}

export function unpackError({ code, message, details }) {
  return makeError(code, message, details);
}
