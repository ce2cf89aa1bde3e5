(() => {
  const { el, get, held, option, film, marked } = desk;
  const index = held("mined-index");
  if (!index) return;
  const [type, origin, place, search] = ["mined-type", "mined-origin", "mined-place", "mined-search"].map(get);
  const [SET, TYPE, QUESTION, SEED, RANK, WHY, ORIGIN, KIND] = [0, 1, 2, 3, 4, 5, 6, 7]; // of an item
  const ORIGINS = { own: "the policy's own", rules: "by rules", llm: "by a language model" };
  const TYPES = { verify: "yes or no", choose: "one of the options", query: "any of the options", open: "free words" };
  const mined = desk.open("mined-", { row, paint });
  let set = 0;

  const sure = (value) => (value === null ? "not told" : value.toFixed(3));
  const kindOf = (item) => (item[SEED] === null ? "drawn" : item[RANK] ? "neighbor" : "seed");
  const called = (item) => (item[RANK] ? `neighbor ${item[RANK]}` : kindOf(item));

  function fits(i) {
    const item = index.items[i], text = search.value.trim().toLowerCase();
    if (item[SET] !== set) return false;
    if (type.value && index.types[item[TYPE]] !== type.value) return false;
    if (origin.value && (item[ORIGIN] || "none") !== origin.value) return false;
    if (place.value && kindOf(item) !== place.value) return false;
    return !text || [index.ids, index.texts].some((column) => column[item[QUESTION]].toLowerCase().includes(text));
  }
  function update(first) {
    mined.browser.querySelectorAll(".presets button").forEach((b) => b.setAttribute("aria-pressed", Number(b.dataset.set) === set));
    mined.fill(index.items.map((_, i) => i).filter(fits), first);
  }

  function row(i) {
    const item = index.items[i], [right, value] = index.told[item[QUESTION]];
    const mark = value === null ? null : el("i", right ? "up" : "down", value.toFixed(2));
    if (mark) mark.title = `The policy's answer is ${right ? "right" : "wrong"}, with this confidence.`;
    const wrong = item[ORIGIN] ? `rejected: ${item[KIND] === item[ORIGIN] ? "" : item[KIND] + ", "}${ORIGINS[item[ORIGIN]]}` : "no wrong answer";
    return [el("b", "", index.texts[item[QUESTION]]), mark, el("small", "", [called(item), index.types[item[TYPE]], wrong].join(" · "))];
  }

  const films = (images) => images.map(([at, name]) => film(held("film-" + at), name));
  function chips(found) {
    return el("p", "chips", ...found.map(([label, cls, said]) => el("span", "chip " + cls, label, said ? el("span", "sr", ` (${said})`) : null)));
  }
  function options(found) {
    if (!found.options.length) return null;
    return chips(found.options.map((each) => (found.answers.includes(each) ? [each, "match", "right"] : [each, "reference", ""])));
  }
  function evidence(found) {
    if (!found.evidence.length) return el("p", "none", "none told");
    return chips(found.evidence.map(([text, present]) => [present ? text : `no ${text}`, present ? "reference" : "absent", present ? "present" : "absent"]));
  }
  function card(cls, head, told, ...inside) {
    return el("div", "card " + cls, el("h4", "", head, " ", el("em", "", told)), ...inside);
  }
  function policyCard(told) {
    if (!told) return card("told", "The policy", "was not asked this question");
    const [text, right, value] = told;
    const says = right === null ? "cannot be read" : right ? "right" : "wrong";
    const bar = value === null ? null : el("span", "sure " + (right ? "yes" : "no"), el("span", ""));
    if (bar) bar.firstChild.style.width = 100 * value + "%";
    return card("told", "The policy's answer", `${says}, confidence ${sure(value)}`, bar, el("p", "text", text || "(empty)"));
  }
  function rejectedCard(wrong) {
    if (!wrong) return card("rejected", "Rejected", "none", el("p", "none", "No wrong answer passed the verifier, so there is no pair."));
    const { origin: by, kind, sentences } = wrong;
    return card("rejected", "Rejected", by === "own" ? "the policy's own answer" : `edited ${ORIGINS[by]}: ${kind}`, ...marked(sentences, "Not in the wrong answer: "));
  }
  function seedPart(item) {
    const found = item[RANK] && item[SEED] !== null ? held("mined-" + item[SEED]) : null;
    if (!found) return null;
    const own = index.items.findIndex((other) => other[SET] === item[SET] && other[QUESTION] === item[SEED]);
    const title = own < 0 ? el("span", "", found.text) : el("a", "", found.text);
    if (own >= 0) title.href = link(own);
    const told = found.told ? `${found.told[1] ? "Right" : "Wrong"}, confidence ${sure(found.told[2])}: ${found.told[0] || "(empty)"}` : "The policy was not asked.";
    const text = el("div", "truth", el("h4", "", "Its seed"), el("p", "text", title), options(found), el("h4", "", "The policy's answer to the seed"), el("p", "text", told));
    return el("div", "sheet seed", el("div", "films small", ...films(found.images)), text);
  }
  const link = (i) => `#mined=${encodeURIComponent(index.sets[index.items[i][SET]])}&question=${encodeURIComponent(index.ids[index.items[i][QUESTION]])}`;

  function paint(i, sheet) {
    if (i === undefined) return sheet.replaceChildren(el("p", "none", "No question fits these filters."));
    const item = index.items[i], found = held("mined-" + item[QUESTION]);
    if (!found) return sheet.replaceChildren(el("p", "none", "This question is still being read from the file."));
    const title = el("a", "", index.ids[item[QUESTION]]);
    title.href = link(i);
    const about = el("span", "judged", [...new Set([found.kind, found.task, TYPES[found.type]])].join(", "));
    const shown = el("div", "films", ...films(found.images));
    if (!found.images.length) shown.append(el("p", "none", "No image."));
    const truth = el("div", "truth", el("p", "why-here", item[WHY]), el("h4", "", "Question"), el("p", "text", found.text), options(found), el("h4", "", "Evidence"), evidence(found));
    const chosen = card("chosen", "Chosen", "the right answer, from the evidence", el("p", "text", found.right));
    const cards = el("div", "written three", policyCard(found.told), chosen, rejectedCard(found.wrong));
    sheet.replaceChildren(...[el("h3", "", title, about), el("div", "sheet", shown, truth), cards, seedPart(item)].filter((part) => part));
  }

  function follow() {
    const wish = new URLSearchParams(location.hash.slice(1));
    if (!wish.has("mined")) return;
    set = Math.max(0, index.sets.indexOf(wish.get("mined")));
    [type.value, origin.value, place.value, search.value] = ["", "", "", ""];
    const first = index.items.findIndex((item) => item[SET] === set && index.ids[item[QUESTION]] === wish.get("question"));
    update(first < 0 ? undefined : first);
    mined.browser.scrollIntoView({ block: "start", behavior: "instant" });
  }

  type.append(...index.types.map((name) => option(name, name)));
  mined.browser.querySelectorAll(".presets button").forEach((b) => b.addEventListener("click", () => { set = Number(b.dataset.set); update(); }));
  [type, origin, place].forEach((c) => c.addEventListener("change", () => { update(); c.blur(); }));
  search.addEventListener("input", () => update());
  addEventListener("hashchange", follow);
  document.addEventListener("DOMContentLoaded", () => { mined.repaint(); follow(); });
  update();
})();
