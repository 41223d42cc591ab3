'use strict';
// Chooses the language and filters questions. Texts are read from the page and written as text, never as markup.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const form = byId('filters');
  const questions = Array.from(document.querySelectorAll('.questions > article'));
  const fold = (text) => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase();
  const texts = new Map();
  const textOf = (question) => {
    if (!texts.has(question)) {
      texts.set(question, fold(Array.from(question.querySelectorAll('.t, .about, samp'), (part) => part.textContent).join('\n')));
    }
    return texts.get(question);
  };

  const count = () => {
    const status = byId('count');
    if (!status) return;
    const number = (n) => n.toLocaleString(root.lang);
    const shown = questions.filter((question) => !question.hidden).length;
    const sentence = status.dataset[root.lang].replace('{0}', number(shown)).replace('{1}', number(questions.length));
    if (status.textContent !== sentence) status.textContent = sentence;
  };

  const filter = () => {
    const chosen = (id) => { const field = byId(id); return field ? field.value : ''; };
    const [outcome, category, about] = ['filter-outcome', 'filter-category', 'filter-document'].map(chosen);
    const words = fold(chosen('filter-text')).split(/\s+/).filter(Boolean);
    for (const question of questions) {
      const { o, c, d } = question.dataset;
      const fits = (!outcome || o.split(' ').includes(outcome)) && (!category || c === category) && (!about || d === about)
        && (words.length === 0 || words.every((word) => textOf(question).includes(word)));
      question.hidden = !fits;
    }
    count();
  };

  const speak = (language) => {
    root.lang = language;
    root.dataset.language = language;
    const title = document.querySelector('title');
    title.textContent = title.dataset[language];
    for (const option of document.querySelectorAll('option[data-en]')) option.textContent = option.dataset[language];
    count();
  };

  for (const choice of document.querySelectorAll('input[name="language"]')) {
    choice.addEventListener('change', () => speak(choice.value));
    if (choice.checked) speak(choice.value);
  }

  if (form) {
    let timer = 0;
    form.hidden = false;
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('input', () => { clearTimeout(timer); timer = setTimeout(filter, 120); });
    form.addEventListener('reset', () => { clearTimeout(timer); timer = setTimeout(filter, 0); });
    filter();
  }
})();
