import type { Socket } from 'node:net'
import type { NativeAddon } from '../base/native.ts'

/**
 * A descriptor of `socket`'s connection that lives on when Node has destroyed its own, so that the
 * addon's sockets go on where Node's has begun. −1 when there is no descriptor to be had, or when
 * Node has not sent all of what it was given yet.
 */
export function duplicateSocket(addon: NativeAddon, socket: Socket): number {
  const fd = descriptorOf(socket)
  if (fd < 0 || socket.writableLength > 0) return -1
  try {
    return addon.duplicateFd(fd)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EMFILE') return -1
    throw error
  }
}

/** −1 when Node does not say: an internal property that has been there since its beginnings. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as { readonly _handle?: { readonly fd?: unknown } | null }
  const fd = handle?.fd
  return typeof fd === 'number' ? fd : -1
}
