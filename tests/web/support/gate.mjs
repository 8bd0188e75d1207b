// gate.mjs: a server that holds its answers back, so that a test meets a download in its middle however fast the machine is.

/** Once closed it lets that many more requests pass and keeps the rest until it is opened. */
export function makeGate() {
  let left = Infinity, reached;
  const waiting = [];
  return {
    /** Resolves when a request has to wait. */
    close: (count) => new Promise((resolve) => (left = count, reached = resolve)),
    open() {
      left = Infinity;
      for (const go of waiting.splice(0)) go();
    },
    pass() {
      if (left-- > 0) return undefined;
      reached();
      return new Promise((go) => waiting.push(go));
    },
  };
}
