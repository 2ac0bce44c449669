import type { NativeAddon } from '../base/native.ts'
import type { BatchEngine } from './batch-engine.ts'

/** The batch engine of the addon: CRC with the processor's vector instructions, one call a run. */
export function nativeBatchEngine(addon: NativeAddon): BatchEngine {
  // The addon's functions themselves, without a closure around each call.
  return { name: 'native', crc32c: addon.crc32c, validateAndStamp: addon.validateAndStamp }
}
