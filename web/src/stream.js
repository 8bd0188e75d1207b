// stream.js: events of a worker's call as an async iterator. Leaving the loop early aborts the call.

/**
 * @template T
 * @param {(push: (value: T) => void, signal: AbortSignal) => Promise<any>} run runs until all values were pushed
 * @param {AbortSignal} [outer]
 * @returns {AsyncGenerator<T>}
 */
export async function* iterate(run, outer) {
  const queue = [], stop = new AbortController();
  const signal = outer ? AbortSignal.any([outer, stop.signal]) : stop.signal;
  let wake = () => {}, over = false, failure;
  run((value) => {
    queue.push(value);
    wake();
  }, signal).catch((error) => {
    failure = error;
  }).finally(() => {
    over = true;
    wake();
  });
  try {
    for (;;) {
      while (queue.length) yield queue.shift();
      if (over) break;
      await new Promise((resolve) => {
        wake = resolve;
        if (queue.length || over) resolve();
      });
    }
    if (failure) throw failure;
  } finally {
    if (!over) stop.abort();
  }
}
