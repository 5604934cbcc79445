//! Command lines, and the request that a retry may repeat. A tilde stands for a space in a word.

use super::*;

/// The method of the request, or nothing. `input` tells whether stdin is something else than a
/// terminal.
fn repeated(line: &str, input: bool) -> String {
    let words: Vec<String> = line.split(' ').map(|word| word.replace('~', " ")).collect();
    let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
    unkeyed(&words, || input).map(|method| method.to_string()).unwrap_or_default()
}

#[track_caller]
fn check(table: &[(&str, &str)]) {
    for (line, method) in table {
        for input in [false, true] {
            assert_eq!(repeated(line, input), *method, "{line}");
        }
    }
}

#[test]
fn the_options_of_curl_make_the_method() {
    check(&[
        ("curl URL", ""),
        ("curl -X POST URL", "POST"),
        ("curl -XPOST URL", "POST"),
        ("curl -sXPOST URL", "POST"),
        ("curl -sSfX POST URL", "POST"),
        ("curl -X post URL", "POST"),
        ("curl --request POST URL", "POST"),
        ("curl --request=PATCH URL", "PATCH"),
        ("curl URL -X PATCH", "PATCH"),
        ("curl -X POSTS URL", ""),
        ("curl -d a=b URL", "POST"),
        ("curl -da=b URL", "POST"),
        ("curl -sSfd a=b URL", "POST"),
        ("curl -sSf -d @order.json URL", "POST"),
        ("curl --data @- URL", "POST"),
        ("curl --data-ascii x URL", "POST"),
        ("curl --data-binary @f URL", "POST"),
        ("curl --data-raw x URL", "POST"),
        ("curl --data-urlencode a=b URL", "POST"),
        ("curl --expand-data {{x}} URL", "POST"),
        ("curl --json {} URL", "POST"),
        ("curl -F a=@f URL", "POST"),
        ("curl --form a=b URL", "POST"),
        ("curl --form-string a=b URL", "POST"),
        ("curl --form-escape URL", ""),
        ("curl --url-query a=b URL", ""),
        ("curl --url http://127.0.0.1/ -d x", "POST"),
        ("curl -d x -- URL", "POST"),
        ("curl -- -d x URL", ""),
        // Another method.
        ("curl -G -d a=b URL", ""),
        ("curl -sGd a=b URL", ""),
        ("curl --get --data-urlencode a=b URL", ""),
        ("curl -G -X POST -d a=b URL", "POST"),
        ("curl -X PUT -d x URL", ""),
        ("curl -X GET -d x URL", ""),
        ("curl -X DELETE URL", ""),
        ("curl -T f URL", ""),
        ("curl -T f -X PATCH URL", "PATCH"),
        ("curl -I URL", ""),
        ("curl --head URL", ""),
        ("curl -X POST -X PUT -d x URL", ""),
        // The word belongs to another option.
        ("curl -o -d URL", ""),
        ("curl --user-agent -d URL", ""),
        ("curl -sSfo POST URL", ""),
        ("curl -HX-a:b URL", ""),
        // curl sends no request, or no request of HTTP.
        ("curl -d x", ""),
        ("curl --version -d x URL", ""),
        ("curl -F =hi --mail-from a@b smtp://127.0.0.1", ""),
        ("curl -F =hi smtp://127.0.0.1 --next -d x HTTP://127.0.0.1", "POST"),
    ]);
}

#[test]
fn a_key_in_a_header_of_curl_is_enough() {
    check(&[
        ("curl -H Idempotency-Key:~x -d x URL", ""),
        ("curl -HIdempotency-Key:x -d x URL", ""),
        ("curl -sSfH idempotency-key:~x -d x URL", ""),
        ("curl -d x URL --header IDEMPOTENCY-KEY:x", ""),
        ("curl --header=Idempotency-Key:~x -d x URL", ""),
        ("curl --expand-header Idempotency-Key:~{{k}} -d x URL", ""),
        ("curl -H X-Idempotency-Key:~x -d x URL", ""),
        ("curl -H Idempotency-Key; -d x URL", ""),
        // curl sends no header without a value.
        ("curl -H Idempotency-Key: -d x URL", "POST"),
        ("curl -H Idempotency-Key:~ -d x URL", "POST"),
        ("curl -H Idempotency-Keys:~x -d x URL", "POST"),
        ("curl -H NoIdempotency-Key:~x -d x URL", "POST"),
        ("curl -H X-Request:~Idempotency-Key:~x -d x URL", "POST"),
        ("curl --proxy-header Idempotency-Key:~x -d x URL", "POST"),
        ("curl -d Idempotency-Key:x URL", "POST"),
        // The words leave it open.
        ("curl -H @headers -d x URL", ""),
        ("curl --header @- -d x URL", ""),
        ("curl -K file -d x URL", ""),
        ("curl -sKfile -d x URL", ""),
        ("curl --config file -X POST URL", ""),
        ("curl --heade Idempotency-Key:~x -d x URL", ""),
        ("curl --conf file -d x URL", ""),
    ]);
}

#[test]
fn each_part_of_a_curl_command_has_a_key_of_its_own() {
    check(&[
        ("curl -d x URL URL", "POST"),
        ("curl URL --next -X PATCH URL", "PATCH"),
        ("curl -d x -H Idempotency-Key:x URL --next -d y URL", "POST"),
        ("curl -d x URL -: -d y -H Idempotency-Key:x URL", "POST"),
        ("curl -d x -H Idempotency-Key:x URL --next -d y -H Idempotency-Key:y URL", ""),
        ("curl -G -d x URL --next URL", ""),
        ("curl -d x URL --next -K file URL", ""),
    ]);
}

#[test]
fn the_options_of_wget_make_the_method() {
    check(&[
        ("wget URL", ""),
        ("wget --post-data=a=b URL", "POST"),
        ("wget --post-data a=b URL", "POST"),
        ("wget -qO- URL --post-file=f", "POST"),
        ("wget -nv -O - --post-file f URL", "POST"),
        ("wget --method=POST --body-data=x URL", "POST"),
        ("wget --method post --body-file f URL", "POST"),
        ("wget --method=PATCH --body-data=x URL", "PATCH"),
        ("wget --method=PUT --body-data=x URL", ""),
        ("wget --method=DELETE URL", ""),
        ("wget --post-data=x -i urls", "POST"),
        ("wget -e post_data=x URL", "POST"),
        ("wget -e robots=off --post-data=x URL", "POST"),
        ("wget -O --post-data=x URL", ""),
        ("wget --post-data=x ftp://127.0.0.1/x", ""),
        ("wget --header=Idempotency-Key:~x --post-data=y URL", ""),
        ("wget --header idempotency-key:x --post-data=y URL", ""),
        ("wget --execute header=Idempotency-Key:~x --post-data=y URL", ""),
        ("wget -e Header~=~Idempotency-Key:~x --post-data=y URL", ""),
        ("wget --header=Accept:~x --post-data=y URL", "POST"),
        ("wget --header=Idempotency-Key:~x --header= --post-data=y URL", "POST"),
        // -H is --span-hosts.
        ("wget -H Idempotency-Key:x --post-data=y URL", "POST"),
        ("wget --config=file --post-data=x URL", ""),
        ("wget --no-config --post-data=x URL", "POST"),
        ("wget --post-d x URL", ""),
    ]);
}

#[test]
fn the_words_of_httpie_make_the_method() {
    check(&[
        ("http GET URL", ""),
        ("http POST URL", "POST"),
        ("http post :8080/x", "POST"),
        ("https PATCH example.com a=b", "PATCH"),
        ("http PUT URL a=b", ""),
        ("http -v --check-status POST URL", "POST"),
        ("http --auth user:password POST URL", "POST"),
        ("http -a a=b POST URL", "POST"),
        ("http -I example.com", ""),
        ("http --ignore-stdin example.com a==b X-A:b", ""),
        ("http -I example.com a=b", "POST"),
        ("http -I example.com a:=1", "POST"),
        ("http -I example.com a:=@f", "POST"),
        ("http -I example.com a=@f", "POST"),
        ("http -I example.com a@f", "POST"),
        ("http -I example.com @f", "POST"),
        ("http -I example.com a==@f", ""),
        ("http -I example.com Accept:a=b", ""),
        ("http -I example.com Accept:@f", ""),
        ("http -I example.com X-A;", ""),
        ("http -I example.com a\\:b=c", "POST"),
        ("http -I example.com a\\=b:c", ""),
        ("http -I --form example.com", ""),
        ("http -fI example.com a=b", "POST"),
        ("http -I --raw=x example.com", "POST"),
        ("http -I --raw x example.com", "POST"),
        ("http -I --raw x GET example.com", ""),
        ("http -I -- example.com a=b", "POST"),
        // A single word is the URL, even if it looks like a method.
        ("http -I post", ""),
        ("http --offline POST URL", ""),
        ("http --help POST URL", ""),
        ("http", ""),
    ]);
}

#[test]
fn a_key_among_the_items_of_httpie_is_enough() {
    check(&[
        ("http POST URL Idempotency-Key:x", ""),
        ("http POST URL a=b idempotency-key:x", ""),
        ("http POST URL Idempotency-Key:@file", ""),
        ("http POST URL Idempotency-Key;", ""),
        ("http POST URL Idempotency-Key:", "POST"),
        ("http POST URL Idempotency-Key=x", "POST"),
        ("http POST URL Idempotency-Key==x", "POST"),
        ("http -I example.com a=b Idempotency-Key:x", ""),
    ]);
}

#[test]
fn httpie_sends_its_input() {
    for (line, of_terminal, of_input) in [
        ("http example.com", "", "POST"),
        ("http example.com X-A:b", "", "POST"),
        ("http example.com Idempotency-Key:x", "", ""),
        ("http --ignore-stdin example.com", "", ""),
        ("http -vI example.com", "", ""),
        ("http GET example.com", "", ""),
        ("http POST example.com", "POST", "POST"),
        ("curl example.com", "", ""),
        ("wget example.com", "", ""),
    ] {
        assert_eq!(repeated(line, false), of_terminal, "{line} at a terminal");
        assert_eq!(repeated(line, true), of_input, "{line} with input");
    }
}

#[test]
fn only_the_program_behind_known_wrappers_counts() {
    check(&[
        ("sudo -n curl -d x URL", "POST"),
        ("env A=b timeout 30 /usr/bin/curl -d x URL", "POST"),
        ("nice -n 5 wget --post-data=x URL", "POST"),
        ("time http POST URL", "POST"),
        ("sudo -i curl -d x URL", ""),
        ("sh -c curl~-d~x~URL", ""),
        ("curlie -d x URL", ""),
        ("httpie POST URL", ""),
        ("mysql -d x URL", ""),
        ("curl", ""),
    ]);
}
