#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mlxk {

using TableRow = std::vector<std::string>;

/// Columns joined by " | ", each padded to its widest cell, a line of dashes below the header; lines end with "\n". A
/// cell may have several lines.
std::string render_table(const TableRow& header, const std::vector<TableRow>& rows);

/// `text` in lines of at most `width` characters, broken between words (a longer word is cut).
std::string wrap_words(std::string_view text, size_t width);

/// The number of characters of UTF-8 text, which equals its columns for the text in tables.
size_t text_width(std::string_view text);

/// `text` safe for a terminal: control characters, also those of C1, become "?"; line ends stay when `keep_lines`.
std::string printable(std::string_view text, bool keep_lines = false);

}  // namespace mlxk
