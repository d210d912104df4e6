/** The types of `parseArgs`: what it takes, and what follows from that for what it gives. */

/** One name or several. */
export type Names = string | readonly string[];

/** Options of `parseArgs`. */
export interface ParseOptions {
  /**
   * Whether what follows `--` goes to `"--"` instead of `_`.
   *
   * @default {false}
   */
  "--"?: boolean;
  /** Other names of options. A value given under one name is there under all. */
  alias?: Readonly<Record<string, Names>>;
  /** Options that take no value, `false` unless given. `true`: all that begin with `--` and have no `=`. */
  boolean?: boolean | Names;
  /** What options are when they are not given. */
  default?: Readonly<Record<string, unknown>>;
  /**
   * Whether everything from the first argument that is no option is left as it is.
   *
   * @default {false}
   */
  stopEarly?: boolean;
  /** Options whose values stay texts, also when they look like numbers. */
  string?: Names;
  /** Options that may be given more than once; all values are kept. */
  collect?: Names;
  /** Options that `--no-` before the name sets to `false`. */
  negatable?: Names;
  /** Called with each argument that the other options do not name; it is left out when this returns `false`. */
  unknown?: (arg: string, key?: string, value?: unknown) => unknown;
}

/** The names an option of `parseArgs` lists. */
export type NamesOf<N> = N extends string ? N : N extends readonly (infer E extends string)[] ? E : never;

/** The names listed under `Key` of the options `O`. */
export type NamesIn<O, Key extends string> = O extends { readonly [K in Key]: infer N } ? NamesOf<N> : never;

/** The other names of `Name`, whichever way round they are listed. */
export type AliasesOf<O, Name extends string> = O extends { readonly alias: infer A } ?
    | (Name extends keyof A ? NamesOf<A[Name]> : never)
    | { [K in keyof A & string]: Name extends NamesOf<A[K]> ? K : never }[keyof A & string]
  : never;

/** What `default` of the options `O` says for `Name`, without its exact value. */
export type DefaultOf<O, Name extends string> = O extends { readonly default: infer D }
  ? Name extends keyof D ? Widen<D[Name]> : never
  : never;

/** The type a value is of, not the value itself. */
export type Widen<T> = T extends string ? string
  : T extends number ? number
  : T extends boolean ? boolean
  : T extends readonly (infer E)[] ? Widen<E>[]
  : T;

/** What one use of the option `Name` gives. */
export type ValueOf<O, Name extends string> =
  | (Name extends NamesIn<O, "string"> ? string : Name extends NamesIn<O, "boolean"> ? boolean : unknown)
  | (Name extends NamesIn<O, "negatable"> ? false : never);

/** What the option `Name` is in the result when it is there. */
export type ResultOf<O, Name extends string> =
  | (Name extends NamesIn<O, "collect"> ? ValueOf<O, Name>[] : ValueOf<O, Name>)
  | DefaultOf<O, Name>;

/** All names with a type of their own. Names with a dot make nested objects, which stay `unknown`. */
export type TypedNames<O> = Exclude<
  NamesIn<O, "string"> | NamesIn<O, "boolean"> | NamesIn<O, "collect">,
  `${string}.${string}`
>;

/** The names that are in every result: switches, lists of texts, and what has a default. */
export type RequiredNames<O> = Extract<
  TypedNames<O>,
  | NamesIn<O, "boolean">
  | (NamesIn<O, "collect"> & NamesIn<O, "string">)
  | (O extends { readonly default: infer D } ? keyof D : never)
>;

/** What `parseArgs` returns for the options `O`. */
export type ParsedArgs<O> =
  & { [Name in RequiredNames<O> as Name | AliasesOf<O, Name>]: ResultOf<O, Name> }
  & {
    [Name in Exclude<TypedNames<O>, RequiredNames<O>> as Name | AliasesOf<O, Name>]?:
      | ResultOf<O, Name>
      | undefined;
  }
  & { _: (string | number)[] }
  & (O extends { readonly "--": true } ? { "--": string[] } : unknown)
  & { [name: string]: unknown };
