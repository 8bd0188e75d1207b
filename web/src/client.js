// client.js: the page's end of the worker: calls with promises, events and aborts.
import { abortError, makeError, throwIfAborted, unpackError } from './errors.js';

const DEAF = 1000; // milliseconds without an answer to an abort
const LOOK = 250; // milliseconds between two looks at whether the storage was cleared
const CLEARING = 4000; // milliseconds: it takes a while, marks go first, and a worker that was ended lets go of its files seconds later
const PING_LOOKS = 12, ANSWERS_MISSED = 3;

export class Client {
  /** @param {{worker?: () => Worker, wasm?: string, jspi?: boolean}} options */
  constructor(options = {}) {
    this.calls = new Map();
    this.next = 1;
    this.worker = options.worker ? options.worker() : new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'doppler' });
    this.worker.onmessage = ({ data }) => this.receive(data);
    this.worker.onerror = (event) => this.crash(event.message || 'the worker could not be started');
    this.worker.onmessageerror = () => this.crash('a message from the worker could not be read');
    this.call('setUp', { wasm: options.wasm && String(options.wasm), jspi: options.jspi }).catch(() => {});
  }

  receive({ id, result, error, event, pong }) {
    if (pong) this.unanswered = 0;
    const call = this.calls.get(id);
    if (!call) return;
    if (event) {
      if (event.phase) call.phase = event.phase;
      if (event.phase === 'download' || event.phase === 'convert') this.watch();
      call.onEvent?.(event);
      return;
    }
    this.calls.delete(id);
    call.done();
    if (error) call.reject(unpackError(error));
    else call.resolve(result);
  }

  /**
   * A worker that writes into a storage that was cleared must end before anybody opens a folder there (see markStorage), and may hang
   * in a call to it: some browsers never end such a call. One that downloads answers otherwise; one that converts may be busy for long.
   */
  watch() {
    let looks = 0;
    this.unanswered ??= 0;
    this.watching ??= setInterval(() => {
      const writing = [...this.calls.values()].filter(({ phase }) => phase === 'download' || phase === 'convert');
      if (!writing.length) this.rest();
      else if (writing.some((call) => call.wasCleared?.())) this.endCleared();
      else if (++looks % PING_LOOKS || writing.some(({ phase }) => phase === 'convert')) return;
      else if (this.unanswered++ < ANSWERS_MISSED) this.worker.postMessage({ ping: true });
      else this.crash('it hangs; was the storage of the browser cleared?');
    }, LOOK);
  }

  /** Told a moment later: whoever tries again must not open a folder before all is cleared. */
  endCleared() {
    this.rest();
    this.worker.terminate();
    setTimeout(() => this.crashed || this.crash('the storage that it writes to was cleared'), CLEARING);
  }

  rest() {
    clearInterval(this.watching);
    this.watching = this.unanswered = undefined;
  }

  /** The worker is gone, perhaps because the tab ran out of memory: everything under way fails, and so does what follows. */
  crash(message) {
    this.crashed = makeError('crashed', `the engine's worker stopped: ${message}; load or convert the model again`);
    this.worker.terminate();
    this.rest();
    for (const call of this.calls.values()) {
      call.done();
      call.reject(this.crashed);
    }
    this.calls.clear();
  }

  /** expendable: what this worker does may be lost: where it is deaf to an abort (C runs and cannot be suspended), it is ended.
   * wasCleared: tells whether the storage that it writes to was cleared. */
  call(method, args, { signal, onEvent, transfer, wasCleared, expendable = false } = {}) {
    throwIfAborted(signal);
    if (this.crashed) return Promise.reject(this.crashed);
    const id = this.next++;
    return new Promise((resolve, reject) => {
      let deaf;
      const onAbort = () => {
        this.worker.postMessage({ abort: id });
        if (expendable) deaf = setTimeout(() => this.close(), DEAF);
      };
      const done = () => {
        clearTimeout(deaf);
        signal?.removeEventListener('abort', onAbort);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.calls.set(id, { resolve, reject, onEvent, done, wasCleared });
      this.worker.postMessage({ id, method, args }, transfer ?? []);
    });
  }

  close() {
    this.worker.terminate();
    this.rest();
    this.crashed = makeError('closed', 'the engine was closed');
    for (const call of this.calls.values()) {
      call.done();
      call.reject(abortError('the engine was closed'));
    }
    this.calls.clear();
  }
}
