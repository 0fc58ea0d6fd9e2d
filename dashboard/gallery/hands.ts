/** What a case does to a part before it is looked at: for states that only follow from an action. */

/** How long a part may take until what is asked for is there. */
const PATIENCE_MS = 5_000;

async function found<E extends Element>(find: () => E | undefined, what: string): Promise<E> {
  const end = performance.now() + PATIENCE_MS;
  while (performance.now() < end) {
    const element = find();
    if (element) return element;
    await new Promise(requestAnimationFrame);
  }
  throw new Error(`the part has no ${what}`);
}

function nameOf(element: Element): string {
  return element.getAttribute("aria-label") ?? element.textContent?.trim() ?? "";
}

function offers(field: HTMLSelectElement, value: string): boolean {
  return [...field.options].some((option) => option.value === value);
}

/** Presses the last button or summary of this name: a dialog's is after the one that opened it. */
export async function press(name: string): Promise<void> {
  const find = () =>
    [...document.querySelectorAll<HTMLElement>("button:not(:disabled), summary")].findLast((one) => nameOf(one) === name);
  (await found(find, `button ${name}`)).click();
}

/** Types into the last field whose label begins with this, or chooses the option once it is offered. */
export async function fill(label: string, text: string): Promise<void> {
  const find = () =>
    [...document.querySelectorAll("label")]
      .filter((one) => one.textContent?.trim().startsWith(label))
      .map(({ control }) => control)
      .filter((one) => one instanceof HTMLInputElement || one instanceof HTMLSelectElement)
      .findLast((one) => one instanceof HTMLInputElement || offers(one, text));
  const field = await found(find, `field ${label}`);
  // React listens to events and keeps the last value that it set: the prototype's setter goes past it.
  const { prototype } = field instanceof HTMLInputElement ? HTMLInputElement : HTMLSelectElement;
  Object.getOwnPropertyDescriptor(prototype, "value")!.set!.call(field, text);
  field.dispatchEvent(new Event(field instanceof HTMLInputElement ? "input" : "change", { bubbles: true }));
}
