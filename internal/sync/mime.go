package sync

import (
	"strings"
	"sync"
)

// typesByEnd are media types by the ends of names, from the IANA's register where it has them. They stand here so that every machine says the same: what the system's own tables say depends on what is installed.
const typesByEnd = `
application/epub+zip epub
application/gzip gz tgz
application/java-archive jar
application/javascript mjs
application/json json map
application/ld+json jsonld
application/msword doc dot
application/ogg ogx
application/pdf pdf
application/pgp-signature asc sig
application/postscript ai eps ps
application/rtf rtf
application/sql sql
application/toml toml
application/vnd.android.package-archive apk
application/vnd.apple.mpegurl m3u8
application/vnd.debian.binary-package deb
application/vnd.ms-excel xls
application/vnd.ms-fontobject eot
application/vnd.ms-powerpoint ppt
application/vnd.oasis.opendocument.presentation odp
application/vnd.oasis.opendocument.spreadsheet ods
application/vnd.oasis.opendocument.text odt
application/vnd.openxmlformats-officedocument.presentationml.presentation pptx
application/vnd.openxmlformats-officedocument.spreadsheetml.sheet xlsx
application/vnd.openxmlformats-officedocument.wordprocessingml.document docx
application/vnd.rar rar
application/vnd.sqlite3 sqlite sqlite3
application/wasm wasm
application/x-7z-compressed 7z
application/x-bzip2 bz2
application/x-iso9660-image iso
application/x-rpm rpm
application/x-sh sh
application/x-tar tar
application/x-xz xz
application/xhtml+xml xhtml
application/xml xml xsl
application/yaml yaml yml
application/zip zip
application/zstd zst
audio/aac aac
audio/flac flac
audio/midi mid midi
audio/mp4 m4a m4b
audio/mpeg mp3
audio/ogg oga ogg opus
audio/wav wav
audio/x-aiff aif aiff
font/otf otf
font/ttf ttf
font/woff woff
font/woff2 woff2
image/avif avif
image/bmp bmp
image/gif gif
image/heic heic
image/heif heif
image/jpeg jpe jpeg jpg
image/jxl jxl
image/png png
image/svg+xml svg
image/tiff tif tiff
image/vnd.adobe.photoshop psd
image/vnd.microsoft.icon ico
image/webp webp
image/x-adobe-dng dng
image/x-canon-cr2 cr2
image/x-nikon-nef nef
image/x-sony-arw arw
message/rfc822 eml
text/calendar ics
text/css css
text/csv csv
text/html htm html
text/javascript js
text/markdown markdown md
text/plain c cc cfg conf cpp go h ini java log py rs text txt
text/tab-separated-values tsv
text/vcard vcf
text/vtt vtt
video/3gpp 3gp
video/mp2t ts
video/mp4 m4v mp4
video/mpeg mpeg mpg
video/ogg ogv
video/quicktime mov qt
video/webm webm
video/x-matroska mkv
video/x-ms-wmv wmv
video/x-msvideo avi
`

var typeTable = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(typesByEnd) {
		words := strings.Fields(line)
		for _, end := range words[min(1, len(words)):] {
			m[end] = words[0]
		}
	}
	return m
})

// ContentType is the media type of a file by the end of its name.
func ContentType(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		if t := typeTable()[strings.ToLower(name[i+1:])]; t != "" {
			if strings.HasPrefix(t, "text/") {
				t += "; charset=utf-8"
			}
			return t
		}
	}
	return "application/octet-stream"
}
