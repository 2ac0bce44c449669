/**
 * A broker's disk that can lose its power, fail and be full: an ext4 in a file on a tmpfs, mounted
 * over a loop device. All faults are the kernel's own:
 *
 *   cutPower   what was not synced is gone, and everything fails from now on (ext4's shutdown)
 *   starve     the device takes no more: writes still work, making them durable fails
 *   fill       there is no room left
 *
 * After the first two it works again when it was mounted anew, which needs its users to be gone.
 */
import { execFileSync } from 'node:child_process'
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DEBIAN_PYTHON } from '../e2e/clients/client.ts'

const MIB = 1024 * 1024
const PROBE_BYTES = 8 * MIB
const BALLAST = 'ballast'
const UNMOUNT_MS_MAX = 20_000
const STARVE_ATTEMPTS = 20
/** EXT4_IOC_SHUTDOWN with NOLOGFLUSH: not even the journal is written. */
const CUT_POWER = `import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))`

/** Why there can be no such disks here; null when there can. */
export function whyNoDisks(): string | null {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-disk-'))
  try {
    Disk.make(directory, PROBE_BYTES).cutPower()
    return null
  } catch (error) {
    return `no disk can be mounted and lose its power: ${error instanceof Error ? error.message : error}`
  } finally {
    Disk.remove(directory)
    rmSync(directory, { recursive: true, force: true })
  }
}

export class Disk {
  /** Where brokers keep their data. */
  readonly path: string
  readonly #below: string
  readonly #image: string
  readonly #bytes: number

  private constructor(directory: string, bytes: number) {
    this.path = join(directory, 'disk')
    this.#below = join(directory, 'device')
    this.#image = join(this.#below, 'image')
    this.#bytes = bytes
  }

  /** Throws what the tools say. */
  static make(directory: string, bytes: number): Disk {
    const disk = new Disk(directory, bytes)
    mkdirSync(disk.path, { recursive: true })
    mkdirSync(disk.#below, { recursive: true })
    run('mount', '-t', 'tmpfs', '-o', `size=${disk.#deviceBytes}`, 'tmpfs', disk.#below)
    closeSync(openSync(disk.#image, 'w'))
    truncateSync(disk.#image, bytes)
    run('mkfs.ext4', '-q', '-F', '-m', '0', '-E', 'lazy_itable_init=1', disk.#image)
    disk.mount()
    return disk
  }

  mount(): void {
    run('mount', '-o', 'loop', this.#image, this.path)
  }

  /** Waits for the kernel to let go of what a process had open that has just been killed. */
  async unmount(): Promise<void> {
    const deadlineMs = performance.now() + UNMOUNT_MS_MAX
    for (;;) {
      try {
        run('umount', this.path)
        return
      } catch (error) {
        if (performance.now() > deadlineMs) throw error
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  }

  cutPower(): void {
    run(DEBIAN_PYTHON, '-c', CUT_POWER, this.path)
  }

  /** What lies in the tmpfs already can be written again; everything else fails. */
  starve(): void {
    for (let attempts = 1; ; attempts++) {
      const { blocks, bfree, bsize } = statfsSync(this.#below)
      try {
        run('mount', '-o', `remount,size=${(blocks - bfree) * bsize}`, this.#below)
        return
      } catch (error) {
        // It has grown since it was looked at.
        if (attempts === STARVE_ATTEMPTS) throw error
      }
    }
  }

  feed(): void {
    run('mount', '-o', `remount,size=${this.#deviceBytes}`, this.#below)
  }

  /** Takes all the room there is. */
  fill(): void {
    const { bavail, bsize } = statfsSync(this.path)
    const path = join(this.path, BALLAST)
    for (let [piece, at] = [bavail * bsize, 0]; piece >= 4096; piece = Math.floor(piece / 2)) {
      try {
        run('fallocate', '-o', String(at), '-l', String(piece), path)
        at += piece
      } catch {
        // Less, then.
      }
    }
  }

  empty(): void {
    rmSync(join(this.path, BALLAST), { force: true })
  }

  /** Its users are gone. Never throws. */
  static remove(directory: string): void {
    for (const part of ['disk', 'device']) {
      try {
        run('umount', '-l', join(directory, part))
      } catch {
        // It was not mounted.
      }
    }
  }

  get #deviceBytes(): number {
    return this.#bytes + 16 * MIB
  }
}

function run(command: string, ...args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
