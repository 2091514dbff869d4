// The worker that computes, as functions that give promises.

export class Recommender {
  /** progressed: told the name and the bytes of what has come of a file. */
  constructor(progressed) {
    this.calls = new Map();
    // WORKER is the path of the built file, from where the page is.
    this.worker = new Worker(new URL(WORKER, document.baseURI), { type: "module" });
    this.worker.addEventListener("message", ({ data }) => {
      if (data.progress) return progressed(data.progress);
      const { resolve, reject } = this.calls.get(data.call);
      this.calls.delete(data.call);
      if (data.failed === undefined) resolve(data.answer);
      else reject(new Error(data.failed));
    });
    this.worker.addEventListener("error", () => {
      for (const { reject } of this.calls.values()) reject(new Error("this browser could not begin to compute"));
      this.calls.clear();
    });
  }

  open() { return this.ask("open"); }
  list(asked) { return this.ask("list", asked); }
  similar(asked) { return this.ask("similar", asked); }
  find(asked) { return this.ask("find", asked); }
  describe(ids) { return this.ask("describe", { ids }); }

  ask(method, asked) {
    return new Promise((resolve, reject) => {
      const call = this.last = (this.last ?? 0) + 1;
      this.calls.set(call, { resolve, reject });
      this.worker.postMessage({ call, method, asked });
    });
  }
}
