"use strict";
// What the browsers of cases and of mined questions share: a list of which only the rows in view exist, a sheet beside
// it, and the keys, which turn the pages of the browser that is in view.
const desk = (() => {
  document.documentElement.dataset.ready = "yes";
  const ROW_PX = 50, AROUND = 6, opened = [];
  const get = (id) => document.getElementById(id);
  const held = (id) => { const block = get(id); return block ? JSON.parse(block.textContent) : null; };

  // An element with text, never with markup, so that no report can become part of the page.
  function el(tag, cls, ...inside) {
    const made = document.createElement(tag);
    if (cls) made.className = cls;
    made.append(...inside.filter((each) => each !== null && each !== undefined));
    return made;
  }
  const option = (value, text) => { const made = el("option", "", text); made.value = value; return made; };
  function film([view, synthetic, data], called) {
    const image = el("img"), name = called === undefined ? view : called;
    image.src = "data:image/jpeg;base64," + data;
    image.alt = `${name || view} view${synthetic ? ", synthetic phantom" : ""}`;
    image.addEventListener("click", () => image.classList.toggle("large"));
    return el("figure", "", image, el("figcaption", "", synthetic ? el("b", "", "Synthetic phantom") : "", synthetic && name ? " · " : "", name));
  }
  function sentence([kind, pieces]) {
    const span = el("span", "s " + kind);
    if (typeof pieces === "string") span.append(pieces);
    else pieces.forEach(([change, text], i) => span.append(i ? " " : "", change === "same" ? text : el(change === "new" ? "mark" : "del", "", text)));
    return span;
  }
  // The sentences of a text, and apart from them those that it no longer has.
  function marked(sentences, said) {
    const text = el("p", "text"), gone = el("p", "text gone", el("span", "sr", said));
    for (const each of sentences) (each[0] === "dropped" ? gone : text).append(sentence(each), " ");
    if (!text.childNodes.length) text.append(el("span", "none", "(empty)"));
    return [text, gone.childNodes.length > 1 ? gone : null];
  }

  // A browser whose parts have these ids behind the prefix. `row(i)` is what stands in the list for item i, and
  // `paint(i, sheet)` fills the sheet, undefined where no item fits.
  function open(prefix, { row, paint }) {
    const [browser, list, rows, sheet, position] = ["browser", "list", "rows", "case", "position"].map((name) => get(prefix + name));
    let kept = [], current = 0;
    const own = { browser, search: get(prefix + "search"), at: () => kept[current], fill, turn, repaint: () => paint(kept[current], sheet) };

    function fill(found, first) {
      kept = found;
      current = first !== undefined && kept.includes(first) ? kept.indexOf(first) : 0;
      rows.style.height = kept.length * ROW_PX + "px";
      list.scrollTop = Math.max(0, (current - 2) * ROW_PX);
      show();
    }
    function show() {
      position.textContent = kept.length ? `${current + 1} of ${kept.length}` : "0 of 0";
      const top = current * ROW_PX;
      if (top < list.scrollTop) list.scrollTop = top;
      if (top + ROW_PX > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW_PX - list.clientHeight;
      paintRows();
      own.repaint();
    }
    function turn(step) {
      if (!kept.length) return;
      current = Math.min(kept.length - 1, Math.max(0, current + step));
      show();
      const box = browser.getBoundingClientRect();
      if (box.top > innerHeight * 0.6 || box.bottom < 100) browser.scrollIntoView({ block: "start", behavior: "instant" });
    }
    function paintRows() {
      const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - AROUND);
      const last = Math.min(kept.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW_PX) + AROUND);
      const made = [];
      for (let at = first; at < last; at++) {
        const line = el("li", at === current ? "here" : "", ...row(kept[at]));
        line.style.top = at * ROW_PX + "px";
        line.addEventListener("click", () => { current = at; show(); });
        made.push(line);
      }
      rows.replaceChildren(...made);
    }

    list.addEventListener("scroll", paintRows, { passive: true });
    get(prefix + "previous").addEventListener("click", () => turn(-1));
    get(prefix + "next").addEventListener("click", () => turn(1));
    browser.hidden = false;
    opened.push(own);
    return own;
  }

  function inView() {
    const seen = opened.map(({ browser }) => {
      const box = browser.getBoundingClientRect();
      return Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
    });
    return opened[seen.indexOf(Math.max(...seen, 0))] || opened[0];
  }
  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !opened.length) return;
    if (event.key === "Escape") return document.activeElement.blur();
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
    if (step) inView().turn(step);
    if (event.key === "/") { event.preventDefault(); inView().search.focus(); }
  });
  return { el, get, held, option, film, marked, open };
})();
