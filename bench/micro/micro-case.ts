/** What a micro-benchmark is. */
export interface MicroCase {
  /** Cases of one group are compared with each other. */
  readonly group: string
  readonly name: string
  /** Bytes that one operation goes through, where that is what counts. */
  readonly bytes?: number
  readonly run: () => unknown
  readonly check: (result: unknown) => boolean
}
