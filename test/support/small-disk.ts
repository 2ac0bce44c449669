/**
 * A real file system of a few megabytes, for tests of full and failing disks. Needs root and
 * `mount`: without them `whyNoSmallDisks` says so, and the test skips with that reason.
 */
import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MIB = 1024 * 1024
const BALLAST = 'ballast'

/** The reason for which there are no small disks here; null when there are. */
export function whyNoSmallDisks(): string | null {
  if (process.getuid?.() !== 0) return 'only root may mount a small disk'
  try {
    const disk = SmallDisk.memory(MIB)
    disk.remove()
    return null
  } catch (error) {
    return `a small disk cannot be mounted: ${error instanceof Error ? error.message : error}`
  }
}

export class SmallDisk {
  /** Where it is mounted. */
  readonly path: string
  readonly #mounts: string[]
  readonly #directory: string

  private constructor(directory: string, mounts: string[]) {
    this.#directory = directory
    this.#mounts = mounts
    this.path = mounts.at(-1) as string
  }

  /** A tmpfs: it is full when it is full. */
  static memory(bytes: number): SmallDisk {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-disk-'))
    mount(directory, ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs'])
    return new SmallDisk(directory, [directory])
  }

  /**
   * An ext4 of `bytes` on a device that has room for `deviceBytes` only: writing to it works, and
   * making that durable fails.
   */
  static lying(bytes: number, deviceBytes: number): SmallDisk {
    const below = SmallDisk.memory(deviceBytes)
    const image = join(below.path, 'image')
    const top = mkdtempSync(join(tmpdir(), 'millrace-disk-'))
    closeSync(openSync(image, 'w'))
    truncateSync(image, bytes)
    execFileSync('mkfs.ext4', ['-q', '-F', image])
    mount(top, ['-o', 'loop', image])
    return new SmallDisk(below.path, [below.path, top])
  }

  /** Takes `bytes`, or all the room there is. */
  fillUp(bytes = Infinity): void {
    const file = openSync(join(this.path, BALLAST), 'a')
    let left = bytes
    try {
      for (let piece = MIB; piece >= 512 && left > 0; ) {
        try {
          left -= writeSync(file, new Uint8Array(piece))
        } catch {
          piece /= 2
        }
      }
    } finally {
      closeSync(file)
    }
  }

  /** Gives back what `fillUp` took. */
  freeUp(): void {
    rmSync(join(this.path, BALLAST), { force: true })
  }

  remove(): void {
    for (const path of this.#mounts.toReversed()) {
      execFileSync('umount', ['-l', path], { stdio: 'ignore' })
      rmSync(path, { recursive: true, force: true })
    }
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

function mount(path: string, args: readonly string[]): void {
  execFileSync('mount', [...args, path], { stdio: 'pipe' })
}
