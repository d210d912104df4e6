/** Step 3 of the walk, the config: values that stand in the environment, so that a config holds no secrets. */

/** Looks up a variable of the environment; `undefined` when it is not set. */
export type Environment = (name: string) => string | undefined;

const WHOLE = /^\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})$/;
const ANYWHERE = /\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})/g;

/** A variable that a config names is not set. */
export class UndefinedVariableError extends Error {
  /** Names the variable, unless the name may itself be a secret. */
  constructor(name: string | undefined) {
    super(`the environment variable ${name === undefined ? "it names" : `"${name}"`} is not set`);
    this.name = "UndefinedVariableError";
  }
}

/**
 * A credential that is wholly `$NAME` or `${NAME}` stands in the environment; any other is what it is, dollar signs and
 * all. `$$NAME` is the text `$NAME`.
 *
 * @throws {UndefinedVariableError} when there is no such variable.
 */
export function expandCredential(text: string, environment: Environment): string {
  if (text.startsWith("$$") && WHOLE.test(text.slice(1))) return text.slice(1);
  const match = WHOLE.exec(text);
  if (match === null) return text;
  const [, plain, braced = ""] = match;
  const value = environment(plain ?? braced);
  if (value !== undefined) return value;
  // A password that begins with a dollar sign looks like a variable too; its text must not end up in a log.
  const isSecret = plain !== undefined && !/^[A-Z_][A-Z0-9_]*$/.test(plain);
  throw new UndefinedVariableError(isSecret ? undefined : plain ?? braced);
}

/**
 * A destination may have `$NAME` and `${NAME}` anywhere: no reference has a dollar sign of its own.
 *
 * @throws {UndefinedVariableError} when there is no such variable.
 */
export function expandDestination(text: string, environment: Environment): string {
  return text.replace(
    ANYWHERE,
    (_, plain?: string, braced?: string) => lookUp(plain ?? braced ?? "", environment),
  );
}

function lookUp(name: string, environment: Environment): string {
  const value = environment(name);
  if (value === undefined) throw new UndefinedVariableError(name);
  return value;
}
