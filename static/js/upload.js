// An archive goes up with its progress shown as a row of the list that it will be in. Without script it is a plain form.

const form = document.querySelector('form[data-upload]');
const input = form?.querySelector('input[type="file"]');

function size(bytes) {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

function row(file) {
  const row = document.getElementById('uploading').content.firstElementChild.cloneNode(true);
  row.querySelector('[data-name]').textContent = file.name;
  document.getElementById('uploads').append(row);
  document.getElementById('upload-box').hidden = false;
  return {
    percent(done, total) {
      row.querySelector('progress').value = done / total;
      row.querySelector('[data-say]').textContent =
        done < total ? `${Math.floor((100 * done) / total)} % of ${size(total)}` : 'Checking its signature…';
    },
    failed(sentence) {
      row.querySelector('progress').hidden = true;
      row.querySelector('[data-say]').replaceChildren(document.getElementById('upload-failed').content.cloneNode(true));
      row.querySelector('[data-say] [data-why]').textContent = sentence;
      row.querySelector('button').hidden = false;
    },
    done() {
      row.remove();
      document.getElementById('upload-box').hidden = document.getElementById('uploads').children.length === 0;
    },
    row,
  };
}

function send(file) {
  const shown = row(file);
  const request = new XMLHttpRequest();
  const data = new FormData();
  data.append('csrf', form.elements.csrf.value);
  data.append(input.name, file, file.name);
  request.open('POST', form.action);
  request.setRequestHeader('x-csrf-token', form.elements.csrf.value);
  request.responseType = 'document';
  request.upload.onprogress = (event) => shown.percent(event.loaded, event.total);
  request.onerror = () => shown.failed('The connection broke. Send it again.');
  request.onload = () => {
    if (request.status < 400) {
      shown.done();
      document.dispatchEvent(new Event('muster:refresh'));
    } else {
      const why = request.response?.querySelector('[data-why]')?.textContent.trim();
      shown.failed(why || `The server answered ${request.status}.`);
    }
  };
  shown.row.querySelector('button').addEventListener('click', () => shown.done());
  request.send(data);
}

if (form) {
  form.querySelector('[type="submit"]').hidden = true;
  input.addEventListener('change', () => {
    [...input.files].forEach(send);
    form.reset();
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  for (const name of ['dragenter', 'dragover']) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.add('over');
    });
  }
  for (const name of ['dragleave', 'drop']) form.addEventListener(name, () => form.classList.remove('over'));
  form.addEventListener('drop', (event) => {
    event.preventDefault();
    [...event.dataTransfer.files].forEach(send);
  });
}
