// Formulas first, then the layout, then reveal.js. A slide whose content is too high is set a little smaller; where
// that is not enough, what does not fit goes over to a new slide of the same title.
'use strict';
const SMALLEST = 0.87; // of the normal size of text, before a slide is divided
const CODE = [16, 22], LEAST_CODE = 14; // px: as large as its longest line allows; less only where it is too high

const body = page => page.querySelector('.body');
const fits = page => {
  const box = body(page);
  return box.scrollHeight <= box.clientHeight + 1 && box.scrollWidth <= box.clientWidth + 1;
};

function scaled(page, least) {
  const box = body(page);
  for (let scale = 1; scale >= least; scale -= 0.04) {
    box.style.fontSize = `${30 * scale}px`;
    if (fits(page)) return true;
  }
  box.style.fontSize = '';
  return false;
}

function continued(section) {
  const next = section.cloneNode(true);
  body(next).replaceChildren();
  next.querySelector('aside.notes')?.remove();
  section.after(next);
  return next;
}

// A text that leads to a formula, a list or code must not be left alone at the foot of a slide.
const leads = block => block.tagName === 'P' && (/[:：]\s*$/.test(block.textContent)
  || block.nextElementSibling?.querySelector('mjx-container[display="true"]') || !/[.。!！?？)）]\s*$/.test(block.textContent));

function divideBlock(block, page, rest) {
  const parts = {UL: 'li', OL: 'li', TABLE: 'tbody tr'}[block.tagName];
  const items = parts ? [...block.querySelectorAll(parts)].filter(item => item.closest('ul, ol, table') === block) : [];
  if (items.length < 2) return;
  const twin = block.cloneNode(true);
  const theirs = [...twin.querySelectorAll(parts)].filter(item => item.closest('ul, ol, table') === twin);
  let kept = items.length;
  while (kept > 1 && !fits(page)) items[--kept].remove();
  theirs.slice(0, kept).forEach(item => item.remove());
  if (block.tagName === 'OL') twin.start = (block.start || 1) + kept;
  if (kept < items.length) body(rest).prepend(twin);
}

function smaller(page) {
  for (const pre of page.querySelectorAll('pre')) {
    pre.style.lineHeight = 1.22; // thirty lines, the longest cell that a chapter may have, then fit
    for (let size = parseFloat(getComputedStyle(pre).fontSize); size > LEAST_CODE && !fits(page); size -= 1) {
      pre.style.fontSize = `${size - 1}px`;
    }
  }
}

// A formula that is too wide is made smaller alone; code becomes as large as its longest line allows.
function widths(page) {
  for (const pre of page.querySelectorAll('pre')) {
    const longest = Math.max(...pre.textContent.split('\n').map(line => line.length));
    if (page.classList.contains('verdict')) continue;
    pre.style.fontSize = `${Math.min(CODE[1], Math.max(CODE[0], Math.floor(1100 / (0.605 * longest))))}px`;
  }
  for (const formula of page.querySelectorAll('mjx-container[display="true"]')) {
    const wide = formula.querySelector('svg').getBoundingClientRect().width;
    if (wide > formula.clientWidth) formula.style.fontSize = `${formula.clientWidth / wide * 0.98}em`;
  }
}

function layOut(section) {
  const page = section.querySelector('.page');
  if (section.dataset.kind === 'figure') { // beside a tall picture there is more room for its caption than under it
    const picture = page.querySelector('img');
    page.classList.toggle('tall', picture.naturalHeight > 1.1 * picture.naturalWidth);
  }
  if (!body(page) || section.dataset.kind === 'figure') return;
  widths(page);
  if (scaled(page, SMALLEST)) return;
  const rest = continued(section), blocks = body(page).children, others = body(rest);
  while (blocks.length > 1 && !fits(page)) {
    const last = blocks[blocks.length - 1], above = last.offsetTop - body(page).offsetTop;
    if (above < 0.5 * body(page).clientHeight) divideBlock(last, page, rest);
    if (fits(page)) break;
    do others.prepend(blocks[blocks.length - 1]); while (blocks.length > 1 && leads(blocks[blocks.length - 1]));
  }
  if (!fits(page)) divideBlock(blocks[0], page, rest);
  if (!fits(page)) smaller(page);
  if (!fits(page)) scaled(page, 0.6);
  if (others.children.length) layOut(rest); else rest.remove();
}

async function start() {
  await MathJax.startup.promise;
  await MathJax.typesetPromise();
  await document.fonts.ready;
  await Promise.all([...document.images].map(image => image.decode().catch(() => {})));
  document.querySelectorAll('.slides > section').forEach(layOut);
  document.body.classList.remove('measuring');
  await Reveal.initialize({
    width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: 'c/t', transition: 'none',
    controls: false, plugins: [RevealNotes],
  });
  document.body.dataset.ready = 'true';
}

start();
