// The completions: search, filters, a problem's attempts side by side, formulas, votes, and where answers were read.
// A completion is hostile text. It becomes text nodes and nothing else; of a formula, what Temml makes of it passes
// `checked` first. Problems are rendered when they are opened, so that thousands of them stay quick.
"use strict";

(() => {
  const contents = JSON.parse(document.getElementById("contents").textContent);
  const { conditions, gradings, items } = contents;

  const ROWS_AT_ONCE = 50;
  const MOST_LETTERS = 20000; // of a completion that are shown at first: half from its start, half from its end
  const MOST_FORMULAS = 300; // in one text
  const MOST_TEX = 3000; // letters of one formula
  const MOST_NODES = 5000; // of one formula
  const MOST_NESTED = 60; // deeper ones could overflow the browser's stack

  // ------------------------------------------------------------------------------------------------ elements

  function element(tag, kind, ...children) {
    const made = document.createElement(tag);
    if (kind) made.className = kind;
    made.append(...children); // texts become text nodes
    return made;
  }

  function button(text, onClick) {
    const made = element("button", "", text);
    made.type = "button";
    made.addEventListener("click", () => onClick(made));
    return made;
  }

  // Signs that cannot be seen, or that turn the order of others around, are shown by name.
  const UNSEEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

  function appendText(parent, text) {
    let from = 0;
    for (const found of text.matchAll(UNSEEN)) {
      const code = found[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
      parent.append(text.slice(from, found.index), element("span", "invisible", `⟨U+${code}⟩`));
      from = found.index + 1;
    }
    parent.append(text.slice(from));
  }

  // ------------------------------------------------------------------------------------------------ formulas

  const OPENING = /\$\$|\\\[|\\\(|\\begin\{((?:align|equation|gather)(?:ed)?\*?)\}|\\boxed\{|(?<!\\)\$(?=[^\s$])/g;

  // The formulas of a text: [{begin, end, tex, isDisplay}]. Each closing is looked for within MOST_TEX letters.
  function formulasIn(text) {
    const found = [];
    OPENING.lastIndex = 0;
    for (let opening = OPENING.exec(text); opening && found.length < MOST_FORMULAS; opening = OPENING.exec(text)) {
      const formula = formulaAt(text, opening);
      if (formula) {
        found.push(formula);
        OPENING.lastIndex = formula.end;
      }
    }
    return found;
  }

  function formulaAt(text, opening) {
    const [sign, environment] = opening;
    const begin = opening.index;
    const rest = text.slice(begin + sign.length, begin + sign.length + MOST_TEX);
    if (sign === "\\boxed{") return boxAt(begin, sign, rest);
    const closing = environment ? `\\end{${environment}}` : { "$$": "$$", "\\[": "\\]", "\\(": "\\)" }[sign];
    const length = closing ? rest.indexOf(closing) : dollarIn(rest);
    if (length <= 0) return null;
    const end = begin + sign.length + length + (closing ?? "$").length;
    const tex = environment ? text.slice(begin, end) : rest.slice(0, length);
    return { begin, end, tex, isDisplay: sign === "$$" || sign === "\\[" || Boolean(environment) };
  }

  // As Pandoc has it: a dollar that closes follows no space, and no digit follows it: "$18 and $20" is money.
  function dollarIn(rest) {
    const closing = /^(?:[^$\n\\]|\\[^\n])+?(?<!\s)\$(?!\d)/.exec(rest);
    return closing ? closing[0].length - 1 : -1;
  }

  // A box that stands outside of a formula, up to the brace that closes it.
  function boxAt(begin, sign, rest) {
    let depth = 1;
    for (let place = 0; place < rest.length; place += 1) {
      if (rest[place] === "\\") place += 1;
      else if (rest[place] === "{") depth += 1;
      else if (rest[place] === "}" && (depth -= 1) === 0) {
        return { begin, end: begin + sign.length + place + 1, tex: sign + rest.slice(0, place + 1), isDisplay: false };
      }
    }
    return null;
  }

  const DEFINES = /\\(?:[gex]?def|(?:re|provide)?newcommand|providecommand|renewcommand|(?:future)?let|global|long)(?![a-zA-Z])/;

  function formula({ tex, isDisplay }, source) {
    const made = element("span", `formula ${isDisplay ? "display" : "inline"}`);
    try {
      UNSEEN.lastIndex = 0;
      if (UNSEEN.test(tex) || DEFINES.test(tex)) throw new Error("shown as it is written");
      const options = { displayMode: isDisplay, trust: false, throwOnError: true, maxExpand: 200, maxSize: [20, 200] };
      options.wrap = isDisplay ? "none" : "tex"; // long ones break at their operators
      made.append(checked(temml.__renderToMathMLTree(tex, options)).toNode());
    } catch { // a ParseError, or a stack that overflowed
      made.classList.add("source");
      made.replaceChildren();
      appendText(made, source);
    }
    return made;
  }

  // A tree of Temml's without anything that leads or runs anywhere, and of a size that a browser can lay out.
  function checked(tree) {
    let numNodes = 0;
    (function visit(node, depth) {
      numNodes += 1;
      if (numNodes > MOST_NODES || depth > MOST_NESTED) throw new Error("too large");
      if (node.href !== undefined || node.src !== undefined) throw new Error("leads elsewhere");
      const attributes = node.attributes ?? {};
      for (const name of Object.keys(attributes)) {
        if (/^on|href|src|^id$/i.test(name)) throw new Error("leads elsewhere");
        if (name === "style") delete attributes[name]; // the policy forbids it; Temml sets properties for the rest
      }
      for (const child of node.children ?? []) visit(child, depth + 1);
    })(tree, 0);
    return tree;
  }

  // ------------------------------------------------------------------------------------------------ texts

  // Fills `box` with the text: formulas rendered unless `isSource`, and the span, if any, marked.
  function fill(box, text, span, { isSource = false, isWhole = false } = {}) {
    box.replaceChildren();
    if (isWhole || text.length <= MOST_LETTERS) return fillPiece(box, text, 0, text.length, span, isSource);
    const half = MOST_LETTERS / 2;
    fillPiece(box, text, 0, half, span, isSource);
    const [from, to] = span ?? [text.length, text.length];
    const near = Math.max(half, from - 500);
    const last = text.length - half;
    if (near < last) { // the answer stands in what would be left out
      leaveOut(box, near - half);
      fillPiece(box, text, near, Math.min(last, to + 500), span, isSource);
      leaveOut(box, last - Math.min(last, to + 500));
    } else leaveOut(box, last - half);
    return fillPiece(box, text, last, text.length, span, isSource);
  }

  function leaveOut(box, numLetters) {
    if (numLetters > 0) box.append(element("span", "left-out", `… ${numLetters.toLocaleString("en")} letters left out …`));
  }

  function fillPiece(box, text, begin, end, span, isSource) {
    const piece = text.slice(begin, end);
    const formulas = isSource ? [] : formulasIn(piece);
    let from = 0;
    for (const each of [...formulas, null]) {
      const to = each ? each.begin : piece.length;
      appendMarked(box, piece.slice(from, to), begin + from, span);
      if (!each) break;
      const source = piece.slice(each.begin, each.end);
      const made = formula(each, source);
      const isMarked = span && span[0] < begin + each.end && begin + each.begin < span[1];
      box.append(isMarked ? element("mark", "", made) : made);
      from = each.end;
    }
  }

  function appendMarked(box, text, begin, span) {
    const [from, to] = span ? span.map((place) => Math.min(Math.max(place - begin, 0), text.length)) : [0, 0];
    appendText(box, text.slice(0, from));
    if (from < to) {
      const mark = element("mark");
      appendText(mark, text.slice(from, to));
      box.append(mark);
    }
    appendText(box, text.slice(to));
  }

  function said(text, kind) {
    const box = element("div", `said ${kind}`);
    box.dir = "auto";
    fill(box, text);
    return box;
  }

  function shortened(text, length) {
    const box = element("span");
    appendText(box, text.length > length ? `${text.slice(0, length)}…` : text);
    return box;
  }

  // An answer alone: as a formula where it is written as one.
  function answerShown(answer, length) {
    const isFormula = answer.includes("\\") && answer.length <= 200;
    return isFormula ? formula({ tex: answer, isDisplay: false }, answer) : shortened(answer, length);
  }

  // ------------------------------------------------------------------------------------------------ votes

  const isInteger = (answer) => /^-?\d{1,1000}$/.test(answer);

  // As kit.evaluation.metrics.votes_of has it: more votes, then the larger integer, then the text that sorts last.
  function before(one, other) {
    if (one.count !== other.count) return other.count - one.count;
    const [isOne, isOther] = [isInteger(one.answer), isInteger(other.answer)];
    if (isOne !== isOther) return isOne ? -1 : 1;
    if (isOne && BigInt(one.answer) !== BigInt(other.answer)) return BigInt(one.answer) > BigInt(other.answer) ? -1 : 1;
    return one.answer > other.answer ? -1 : 1;
  }

  function votesOf(item, condition, grading) {
    const counts = new Map();
    const attempts = item.attempts.filter((each) => each.condition === condition);
    for (const { read } of attempts) {
      const { answer, right } = read[grading];
      if (answer === null) continue;
      const vote = counts.get(answer) ?? { answer, right, count: 0 };
      vote.count += 1;
      counts.set(answer, vote);
    }
    const votes = [...counts.values()].sort(before);
    const numSilent = attempts.filter((each) => each.read[grading].answer === null).length;
    const leader = item.submitted[condition] ?? votes[0] ?? null; // what was submitted, else what leads
    return {
      attempts,
      votes,
      numSilent,
      right: leader ? leader.right : attempts.length && item.gold ? false : null,
      isContested: votes.length > 1 && 2 * votes[1].count >= votes[0].count,
      isTruncated: attempts.some((each) => each.truncated),
    };
  }

  const signOf = (right) => ({ true: ["✓", "right"], false: ["✗", "wrong"], null: ["·", "unknown"] })[String(right)];

  function sign(right) {
    const [text, kind] = signOf(right);
    const made = element("span", kind, text);
    made.setAttribute("aria-label", kind);
    return made;
  }

  function votePlot({ votes, numSilent }) {
    const plot = element("div", "votes");
    const most = Math.max(numSilent, ...votes.map((each) => each.count), 1);
    const rows = votes.slice(0, 12).map((each) => [each.answer, each.count, signOf(each.right)[1]]);
    const others = votes.slice(12).reduce((sum, each) => sum + each.count, 0);
    if (others) rows.push(["others", others, ""]);
    if (numSilent) rows.push(["no answer", numSilent, ""]);
    for (const [answer, count, kind] of rows) {
      const name = element("span", "answer");
      name.append(answerShown(answer, 60));
      const bar = element("span", `bar ${kind}`, String(count));
      bar.style.width = `${(100 * count) / most}%`;
      plot.append(name, bar);
    }
    return plot;
  }

  // ------------------------------------------------------------------------------------------------ one problem

  function attemptCard(attempt, grading) {
    const { answer, right, from, span } = attempt.read[grading];
    const head = element("header", "", sign(right), " ");
    const told = element("strong");
    told.append(answer === null ? "no answer" : answerShown(answer, 80));
    const facts = [`#${attempt.number}`, answer === null ? "" : `read: ${from}`, `ended: ${attempt.finish}`];
    facts.push(`${attempt.tokens.toLocaleString("en")} tokens`, `${attempt.seconds} s`);
    if (attempt.depth !== undefined) facts.push(`T = ${attempt.depth}`);
    if (attempt.halting !== undefined) facts.push(`halting ${attempt.halting.toFixed(3)}`);
    head.append(told, element("p", "facts", facts.filter(Boolean).join(" · ")));
    const box = element("div", "said");
    box.dir = "auto";
    box.tabIndex = 0;
    const view = { isSource: false, isWhole: false };
    const draw = () => fill(box, attempt.text, span, view);
    draw();
    const foot = element("footer");
    if (span) foot.append(button("To the answer", () => toMark(box)));
    foot.append(button("LaTeX source", (pressed) => {
      view.isSource = !view.isSource;
      pressed.setAttribute("aria-pressed", String(view.isSource));
      draw();
    }));
    if (attempt.text.length > MOST_LETTERS) {
      foot.append(button(`All ${attempt.text.length.toLocaleString("en")} letters`, (pressed) => {
        Object.assign(view, { isSource: true, isWhole: true });
        pressed.remove();
        draw();
      }));
    }
    const card = element("article", "attempt", head, box, foot);
    if (attempt.error) {
      const error = element("p", "facts");
      appendText(error, attempt.error.slice(0, 2000));
      head.append(error);
    }
    return card;
  }

  function toMark(box) {
    const mark = box.querySelector("mark");
    if (mark) box.scrollTop += mark.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
  }

  function opened(item, grading) {
    const made = element("div", "opened", said(item.text || "The problem's text is not known.", "statement"));
    const gold = element("p", "facts", "Right answer: ", element("strong", "", answerShown(item.gold ?? "not known", 200)));
    if (item.level) gold.append(` · level ${item.level}`);
    if (item.subject) gold.append(` · ${item.subject}`);
    made.append(gold);
    for (const remark of item.remarks) {
      const line = element("p", "facts");
      appendText(line, remark);
      made.append(line);
    }
    if (item.solution) {
      const solution = element("details", "", element("summary", "", "The set's own solution"));
      solution.addEventListener("toggle", () => solution.append(said(item.solution, "statement")), { once: true });
      made.append(solution);
    }
    conditions.forEach((name, condition) => {
      const votes = votesOf(item, condition, grading);
      if (!votes.attempts.length) return;
      if (conditions.length > 1) made.append(element("h4", "", name));
      if (votes.attempts.length > 1) made.append(votePlot(votes));
      const cards = votes.attempts.map((attempt) => attemptCard(attempt, grading));
      made.append(element("div", "attempts", ...cards));
    });
    return made;
  }

  function row(item, { condition, grading }) {
    const votes = votesOf(item, condition, grading);
    const tally = element("span", "tally");
    votes.votes.slice(0, 3).forEach((each, place) => {
      const answer = element("span", signOf(each.right)[1]);
      answer.append(answerShown(each.answer, 18), votes.attempts.length > 1 ? ` ×${each.count}` : "");
      tally.append(place ? ", " : "", answer);
    });
    if (votes.isTruncated) tally.append(element("span", "badge", "truncated"));
    if (votes.numSilent) tally.append(element("span", "badge", "unanswered"));
    const start = element("span", "start");
    start.append(shortened(item.text ?? "", 160));
    const name = element("span", "name");
    name.append(shortened(item.name, 60));
    const made = element("details", "problem", element("summary", "", sign(votes.right), name, start, tally));
    made.addEventListener("toggle", () => made.append(opened(item, grading)), { once: true });
    return made;
  }

  // ------------------------------------------------------------------------------------------------ filters

  const FILTERS = {
    wrong: (item, votes) => votes.right === false,
    contested: (item, votes) => votes.isContested,
    truncated: (item, votes) => votes.isTruncated,
    unanswered: (item, votes) => votes.numSilent > 0,
    "gradings differ": (item, votes) => votes.attempts.some(({ read }) => new Set(read.map((each) => each.right)).size > 1),
    "conditions differ": (item, votes, { grading }) => {
      const rights = conditions.map((_, condition) => votesOf(item, condition, grading));
      return new Set(rights.filter((each) => each.attempts.length).map((each) => each.right)).size > 1;
    },
  };

  const state = { words: "", condition: 0, grading: 0, level: "", subject: "", filters: new Set(), numShown: ROWS_AT_ONCE };
  const searched = new Map(); // an item's texts in lower case, made when it is first looked through

  function textOf(item) {
    if (!searched.has(item)) {
      const texts = [item.name, item.text ?? "", item.gold ?? "", ...item.attempts.map((each) => each.text)];
      searched.set(item, texts.join("\n").toLowerCase());
    }
    return searched.get(item);
  }

  function isWanted(item) {
    if (state.level && item.level !== state.level) return false;
    if (state.subject && item.subject !== state.subject) return false;
    if (state.words && !textOf(item).includes(state.words)) return false;
    const votes = votesOf(item, state.condition, state.grading);
    return [...state.filters].every((name) => FILTERS[name](item, votes, state));
  }

  const list = document.getElementById("list");
  const more = document.getElementById("more");
  let wanted = [];

  function showAnew() {
    wanted = items.filter(isWanted);
    state.numShown = 0;
    list.replaceChildren();
    showMore();
  }

  function showMore() {
    const next = wanted.slice(state.numShown, state.numShown + ROWS_AT_ONCE);
    list.append(...next.map((item) => row(item, state)));
    state.numShown += next.length;
    more.hidden = state.numShown >= wanted.length;
    const total = `${wanted.length.toLocaleString("en")} of ${items.length.toLocaleString("en")} problems`;
    document.getElementById("count").textContent = total;
  }

  function choice(label, options, onChoice) {
    const select = element("select", "", ...options.map(([value, text]) => {
      const option = element("option");
      option.value = value;
      appendText(option, text);
      option.textContent = option.textContent; // an option holds text alone
      return option;
    }));
    select.setAttribute("aria-label", label);
    select.addEventListener("change", () => {
      onChoice(select.value);
      showAnew();
    });
    return select;
  }

  function valuesOf(name) {
    return [...new Set(items.map((item) => item[name]).filter(Boolean))].sort();
  }

  function setUp() {
    const form = document.getElementById("filters");
    form.addEventListener("submit", (event) => event.preventDefault());
    const search = element("input");
    Object.assign(search, { type: "search", placeholder: "Search" });
    search.setAttribute("aria-label", "Search");
    let timer = 0;
    search.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        state.words = search.value.toLowerCase();
        showAnew();
      }, 150);
    });
    form.append(search);
    const numbered = (names) => names.map((name, place) => [String(place), name]);
    if (conditions.length > 1) {
      form.append(choice("Condition", numbered(conditions), (value) => { state.condition = Number(value); }));
    }
    if (gradings.length > 1) {
      form.append(choice("Grading", numbered(gradings), (value) => { state.grading = Number(value); }));
    }
    for (const name of ["level", "subject"]) {
      const values = valuesOf(name);
      const options = [["", `every ${name}`], ...values.map((value) => [value, name === "level" ? `level ${value}` : value])];
      if (values.length > 1) form.append(choice(name, options, (value) => { state[name] = value; }));
    }
    for (const name of Object.keys(FILTERS)) {
      if (name === "gradings differ" && gradings.length < 2) continue;
      if (name === "conditions differ" && conditions.length < 2) continue;
      const toggle = button(name, (pressed) => {
        if (!state.filters.delete(name)) state.filters.add(name);
        pressed.setAttribute("aria-pressed", String(state.filters.has(name)));
        showAnew();
      });
      toggle.setAttribute("aria-pressed", "false");
      form.append(toggle);
    }
    more.addEventListener("click", showMore);
    showAnew();
  }

  setUp();
})();
