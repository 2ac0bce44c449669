/** Waiting that an AbortSignal ends: what everything asynchronous here is made of. */
import { TimeoutError } from './errors.ts'
import type { Timers } from './platform.ts'

export interface Deferred<T> {
  readonly promise: Promise<T>
  resolve(value: T): void
  reject(error: unknown): void
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((ok, failed) => {
    resolve = ok
    reject = failed
  })
  return { promise, resolve, reject }
}

/** The promise, or a rejection with the signal's reason, whichever is first. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  if (signal.aborted) {
    promise.catch(() => {})
    return Promise.reject(signal.reason)
  }
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    const stop = () => signal.removeEventListener('abort', abort)
    promise.then(
      (value) => {
        stop()
        resolve(value)
      },
      (error: unknown) => {
        stop()
        reject(error)
      },
    )
  })
}

/** Rejects with TimeoutError `delayMs` from now, unless the promise settles before. */
export function withTimeout<T>(
  promise: Promise<T>,
  timers: Timers,
  limit: { delayMs: number; what: string },
): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = timers.after(limit.delayMs, () => {
      reject(new TimeoutError(`${limit.what} took more than ${Math.round(limit.delayMs)} ms`))
    })
    promise.then(
      (value) => {
        cancel()
        resolve(value)
      },
      (error: unknown) => {
        cancel()
        reject(error)
      },
    )
  })
}

/** Resolves after `delayMs`, or rejects with the signal's reason. */
export function sleep(timers: Timers, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const abort = () => {
      cancel()
      reject(signal?.reason)
    }
    const cancel = timers.after(delayMs, () => {
      signal?.removeEventListener('abort', abort)
      resolve()
    })
    signal?.addEventListener('abort', abort, { once: true })
  })
}

export interface BackoffOptions {
  readonly minMs: number
  readonly maxMs: number
}

/** Doubles from `minMs` with each attempt (0-based), at most `maxMs`; half of it is chance. */
export function backoffMs(attempt: number, options: BackoffOptions, random: number): number {
  const full = Math.min(options.maxMs, options.minMs * 2 ** Math.min(attempt, 30))
  return full * (0.5 + random / 2)
}
