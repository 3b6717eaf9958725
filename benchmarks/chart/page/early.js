/** Asks for the data while the modules are still on their way, as a page would. */
{
  const count = new URLSearchParams(location.search).get("count");
  globalThis.early = {
    raw: fetch(`/data/${count}.bin`).then((answer) => answer.arrayBuffer()),
    items: fetch(`/data/${count}.json`).then((answer) => answer.json()),
  };
}
