import type { Uuid } from '../base/uuid.ts'

/** A topic of the image. Only `MetadataImage.apply` changes it; others read. */
export interface Topic {
  readonly id: Uuid
  readonly name: string
  /** Handle in the partition table, by partition number. */
  readonly handles: number[]
  /** Overrides by configuration name. */
  readonly configs: Map<string, string>
}
