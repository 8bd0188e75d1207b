// convert.js: a GGUF or safetensors checkpoint that the user chose, as an RDRR model in the store. The converter of the
// core writes its shards one after the other; they go straight into the model's shards.bin.
import { DopplerError, throwIfAborted } from './errors.js';
import { Folder, MemoryFile, RangeFile } from './files.js';
import { alone, makeRoom, mountLocal, StoredModel } from './store.js';

const ALIGN = 4096;

/** A shard that is being written at the end of shards.bin. */
class GrowingShard extends RangeFile {
  constructor(pack) {
    super(pack.handle, pack.end, 0);
    this.pack = pack;
  }
  write(offset, data) {
    if (this.pack.last !== this) throw new Error('an earlier shard is written again');
    this.handle.write(data, { at: this.start + offset });
    this.size = Math.max(this.size, offset + data.length);
    this.pack.end = Math.ceil((this.start + this.size) / ALIGN) * ALIGN;
    return data.length;
  }
  flush() {
    this.handle.flush();
  }
}

/** The output folder: shards in the pack, everything else in memory. */
function outputFolder(pack) {
  const create = (name) => {
    if (!/\.bin(\.|$)/.test(name)) return new MemoryFile();
    pack.last = new GrowingShard(pack);
    return pack.last;
  };
  return new Folder(create);
}

/** Enters what the converter made into model.json. */
async function adopt(model, folder, name, pack) {
  const manifestFile = folder.entries.get('manifest.json');
  if (!manifestFile) throw new DopplerError('internal', 'the converter wrote no manifest.json');
  const manifest = JSON.parse(new TextDecoder().decode(manifestFile.contents()));
  const shards = manifest.shards.map(({ filename, size, hash }) => ({ filename, size, hash, offset: folder.entries.get(filename).start }));
  model.about = { ...model.about, name: manifest.modelId ?? name, algorithm: manifest.hashAlgorithm, shards, bytes: pack.end };
  for (const [file, node] of folder.entries) if (node instanceof MemoryFile) await model.putFile(file, node.contents());
  const state = await (await model.folder.getFileHandle('state.bin', { create: true })).createSyncAccessHandle();
  try {
    state.write(new Uint8Array(new Float64Array(shards.length).fill(-1).buffer), { at: 0 });
    state.flush();
  } finally {
    state.close();
  }
  await model.finish();
}

/** Where the core finds what is to be converted: a GGUF file (of several the first, which names the others), or a folder, whose
 * name becomes the model's as it does outside a browser. */
function mountInput(tree, files, title) {
  const input = new Folder(), name = title.replaceAll('/', '-') || 'model';
  input.put(name, mountLocal(files));
  tree.mount('input', input);
  const gguf = files.filter((f) => /\.gguf$/i.test(f.name)).map((f) => f.name).sort();
  return gguf.length ? `/input/${name}/${gguf[0]}` : `/input/${name}`;
}

/** One attempt, from an empty folder of the store on. */
async function attempt(core, tree, { files, title, key, request }, { tell, signal }) {
  const model = await StoredModel.open(key, { create: true });
  for (const name of ['shards.bin', 'state.bin', 'model.json']) await model.folder.removeEntry(name).catch(() => {});
  await model.describe({ url: '', name: title, algorithm: '', shards: [] });
  const handle = await (await model.folder.getFileHandle('shards.bin', { create: true })).createSyncAccessHandle();
  const pack = { handle, end: 0, last: undefined };
  try {
    const out = new Folder();
    out.create = outputFolder(pack).create;
    tree.mount('out', out);
    await core.convert(mountInput(tree, files, title), '/out/model', { ...request,
      onProgress: (what, done, total) => tell({ phase: 'convert', what, done, total }), signal });
    throwIfAborted(signal);
    await adopt(model, out.entries.get('model'), title, pack);
  } catch (error) {
    handle.close();
    await model.folder.removeEntry('shards.bin').catch(() => {});
    throw error;
  } finally {
    handle.close();
    tree.unmount('input');
    tree.unmount('out');
  }
  return { key, name: model.about.name, bytes: model.about.bytes, wasmBytes: core.memoryBytes() };
}

/**
 * Room is asked for as if the model stayed as large as it is; what a quantisation makes of it is seen when it is there.
 * @returns {Promise<{key: string, name: string, bytes: number, wasmBytes: number}>}
 */
export async function convertLocal(core, tree, job, context) {
  const { key, request } = job, bytes = job.files.reduce((sum, file) => sum + file.size, 0);
  return alone(key, async () => {
    if (!request.quantize || request.quantize === 'keep') await makeRoom(bytes, key, context.consent);
    try {
      return await attempt(core, tree, job, context);
    } catch (error) {
      if (error.code !== 'storage-full' && error.name !== 'QuotaExceededError') throw error;
      await makeRoom(bytes, key, context.consent, { full: true });
      return attempt(core, tree, job, context);
    }
  });
}
