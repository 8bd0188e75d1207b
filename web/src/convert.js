// convert.js: a GGUF or safetensors checkpoint that the user chose, as an RDRR model in the store. The converter of the
// core writes its shards one after the other; they go straight into the model's shards.bin.
import { DopplerError, throwIfAborted } from './errors.js';
import { Folder, MemoryFile, RangeFile } from './files.js';
import { alone, mountLocal, StoredModel } from './store.js';

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

/** @returns {Promise<{key: string, name: string, bytes: number}>} */
export async function convertLocal(core, tree, { files, request }, { tell, signal }) {
  const first = files[0].name.replace(/\.(gguf|safetensors|json)$/i, '');
  const key = (request.key ?? `${first}-converted`).replace(/[^A-Za-z0-9._-]+/g, '-');
  return alone(key, async () => {
    const model = await StoredModel.open(key, { create: true });
    for (const name of ['shards.bin', 'state.bin', 'model.json']) await model.folder.removeEntry(name).catch(() => {});
    await model.describe({ url: '', name: first, algorithm: '', shards: [] });
    const handle = await (await model.folder.getFileHandle('shards.bin', { create: true })).createSyncAccessHandle();
    const pack = { handle, end: 0, last: undefined };
    const gguf = files.filter((f) => /\.gguf$/i.test(f.name)).map((f) => f.name).sort();
    try {
      const out = new Folder();
      out.create = outputFolder(pack).create;
      tree.mount('input', mountLocal(files));
      tree.mount('out', out);
      await core.convert(gguf.length ? `/input/${gguf[0]}` : '/input', '/out/model', { ...request,
        onProgress: (what, done, total) => tell({ phase: 'convert', what, done, total }), signal });
      throwIfAborted(signal);
      await adopt(model, out.entries.get('model'), first, pack);
    } catch (error) {
      handle.close();
      await model.folder.removeEntry('shards.bin').catch(() => {});
      throw error;
    } finally {
      handle.close();
      tree.unmount('input');
      tree.unmount('out');
    }
    return { key, name: model.about.name, bytes: model.about.bytes };
  });
}
