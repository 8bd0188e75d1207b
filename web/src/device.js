// device.js: what gpu.js needs of WebGPU that has no state of its own: the adapter in the words of dp_gpu_caps, a device with all
// that the adapter can do, what the shader compiler says; and handles.
const NO_F16 = 1, NO_SUBGROUPS = 2, TIMESTAMPS = 4;
const LIMITS = ['maxBufferSize', 'maxStorageBufferBindingSize', 'maxComputeWorkgroupStorageSize', 'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX', 'maxComputeWorkgroupSizeY', 'maxComputeWorkgroupSizeZ', 'maxComputeWorkgroupsPerDimension',
  'maxStorageBuffersPerShaderStage'];

/** Handles: 1 + index; free ones are used again. */
export class Table {
  constructor() {
    this.items = [undefined];
    this.free = [];
  }
  add(item) {
    const handle = this.free.pop() ?? this.items.length;
    this.items[handle] = item;
    return handle;
  }
  get(handle) {
    return this.items[handle];
  }
  drop(handle) {
    const item = this.items[handle];
    if (item === undefined) return undefined;
    this.items[handle] = undefined;
    this.free.push(handle);
    return item;
  }
}

/** What the adapter is and can do, in the words of dp_gpu_caps. */
export function describeAdapter(adapter, flags = 0) {
  const info = adapter.info ?? {}, limits = adapter.limits;
  const subgroups = adapter.features.has('subgroups') && !(flags & NO_SUBGROUPS);
  const names = `${info.architecture} ${info.device} ${info.description}`;
  const software = Boolean(info.isFallbackAdapter ?? adapter.isFallbackAdapter) || /swiftshader|llvmpipe/i.test(names);
  return {
    name: info.description || [info.vendor, info.architecture || info.device].filter(Boolean).join(' ') || 'GPU',
    vendor: info.vendor ?? '', driver: info.architecture ?? '', software, slowBarriers: /swiftshader/i.test(names), unified: software,
    f16: adapter.features.has('shader-f16') && !(flags & NO_F16), subgroups,
    timestamps: adapter.features.has('timestamp-query') && Boolean(flags & TIMESTAMPS),
    subgroupMin: subgroups ? info.subgroupMinSize ?? 0 : 0, subgroupMax: subgroups ? info.subgroupMaxSize ?? 0 : 0,
    bufferMax: limits.maxBufferSize, bindingMax: Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize),
    bindingAlign: limits.minStorageBufferOffsetAlignment, workgroupMemory: limits.maxComputeWorkgroupStorageSize,
    workgroupSize: Math.min(limits.maxComputeInvocationsPerWorkgroup, limits.maxComputeWorkgroupSizeX),
    workgroups: limits.maxComputeWorkgroupsPerDimension, storageBuffers: limits.maxStorageBuffersPerShaderStage,
  };
}

/** A device with the limits of its adapter and the features that `caps` names. */
export function openDevice(adapter, caps) {
  const features = [caps.f16 && 'shader-f16', caps.subgroups && 'subgroups', caps.timestamps && 'timestamp-query'].filter(Boolean);
  const limits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
  return adapter.requestDevice({ label: 'doppler', requiredFeatures: features, requiredLimits: limits });
}

/** What the compiler says of a shader that failed, one line per error. */
export async function compilerMessage(module, label) {
  try {
    const { messages } = await module.getCompilationInfo();
    const errors = messages.filter((m) => m.type === 'error').map((m) => `${label}:${m.lineNum}:${m.linePos}: ${m.message}`);
    return errors.length ? `WGSL: ${errors.join('\n')}` : label;
  } catch {
    return label;
  }
}
